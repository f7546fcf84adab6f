"""The lint finds what a defect, or a spec that no verifier accepts, would put into a certificate."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from clm.pki.lint import lint
from clm.pki.tbs import Draft
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import LEAF, NOW, ROOT, Authority, certificate_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clm.pki.keys import PublicKey

BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*bits: str) -> x509.KeyUsage:
    """Build a KeyUsage with these bits."""
    return x509.KeyUsage(**{bit: bit in bits for bit in BITS})


SAN = x509.SubjectAlternativeName([x509.DNSName("a.example")])


class Bad:
    """A certificate that the builder of CLM would not make."""

    def __init__(self, root: Authority) -> None:
        self.root = root
        self.key: PublicKey = root.keys.get("leaf").public_key()
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
        assert root.issuer.subject is not None
        self.issuer_name = root.issuer.subject
        self.serial = 2**100
        self.signer = root.issuer.spec
        self.begin, self.end = NOW, NOW + timedelta(hours=1)
        self.extensions: dict[type[Any], tuple[x509.ExtensionType, bool]] = {}
        self.set(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        self.set(usage("digital_signature"), critical=True)
        self.set(x509.SubjectKeyIdentifier(b"x" * 20), critical=False)
        self.set(x509.AuthorityKeyIdentifier(root.issuer.key_identifier.digest, None, None), critical=False)
        self.set(SAN, critical=False)

    def set(self, value: x509.ExtensionType, *, critical: bool) -> None:
        """Put an extension in, or in another's place."""
        self.extensions[type(value)] = (value, critical)

    def findings(self) -> tuple[str, ...]:
        """Lint it."""
        builder = x509.CertificateBuilder(
            issuer_name=self.issuer_name,
            subject_name=self.subject,
            public_key=self.key,
            serial_number=self.serial,
            not_valid_before=self.begin,
            not_valid_after=self.end,
        )
        for value, critical in self.extensions.values():
            builder = builder.add_extension(value, critical)
        key = self.root.throwaway.get(self.signer)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        certificate = builder.sign(key, hashes.SHA256())
        return lint(Draft(certificate, certificate.tbs_certificate_bytes), issuer=self.root.issuer)


def _short_serial(bad: Bad) -> None:
    bad.serial = 7


def _before_the_issuer(bad: Bad) -> None:
    bad.begin = NOW - timedelta(days=1)


def _after_the_issuer(bad: Bad) -> None:
    bad.end = NOW + timedelta(days=9999)


def _no_subject(bad: Bad) -> None:
    bad.subject = x509.Name([])


def _other_issuer(bad: Bad) -> None:
    bad.issuer_name = bad.subject


def _no_constraints(bad: Bad) -> None:
    del bad.extensions[x509.BasicConstraints]


def _signs_certificates(bad: Bad) -> None:
    bad.set(usage("key_cert_sign"), critical=True)


def _ca_without_bit(bad: Bad) -> None:
    bad.set(x509.BasicConstraints(ca=True, path_length=None), critical=True)


def _no_ski(bad: Bad) -> None:
    del bad.extensions[x509.SubjectKeyIdentifier]


def _no_aki(bad: Bad) -> None:
    del bad.extensions[x509.AuthorityKeyIdentifier]


def _other_aki(bad: Bad) -> None:
    bad.set(x509.AuthorityKeyIdentifier(b"y" * 20, None, None), critical=False)


def _no_usage(bad: Bad) -> None:
    del bad.extensions[x509.KeyUsage]


def _empty_usage(bad: Bad) -> None:
    bad.set(usage(), critical=True)


def _timestamps_and_serves(bad: Bad) -> None:
    both = [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH]
    bad.set(x509.ExtendedKeyUsage(both), critical=False)


def _nameless_server(bad: Bad) -> None:
    del bad.extensions[x509.SubjectAlternativeName]
    bad.set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _weak_key(bad: Bad) -> None:
    bad.key = rsa.generate_private_key(65537, 1024).public_key()


def _issuers_key(bad: Bad) -> None:
    bad.key = bad.root.issuer.public_key


def _leaf_with_name_constraints(bad: Bad) -> None:
    bad.set(x509.NameConstraints([x509.DNSName("a")], None), critical=True)


def _other_signature(bad: Bad) -> None:
    bad.signer = KeySpec("RSA", 2048)


def _twisted_time(tbs: bytes) -> bytes:
    at = tbs.index(b"\x17\x0d")
    return tbs[:at] + b"\x18\x0d" + tbs[at + 2 :]


def _long_name(bad: Bad) -> None:
    bad.subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE", _ASN1Type.UTF8String)])


def _old_string(bad: Bad) -> None:
    bad.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a", _ASN1Type.BMPString)])


def _empty_attribute(bad: Bad) -> None:
    bad.subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "")])


def _twice_in_a_relative_name(bad: Bad) -> None:
    pair = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in "ab"]
    bad.subject = x509.Name([x509.RelativeDistinguishedName(pair)])


def _critical_san(bad: Bad) -> None:
    bad.set(SAN, critical=True)


def _unknown_extension(bad: Bad) -> None:
    bad.set(x509.PrecertPoison(), critical=True)


def _critical_aki(bad: Bad) -> None:
    bad.set(x509.AuthorityKeyIdentifier(bad.root.issuer.key_identifier.digest, None, None), critical=True)


def _uncritical_usage(bad: Bad) -> None:
    bad.set(usage("digital_signature"), critical=False)


def _aki_with_serial(bad: Bad) -> None:
    issuer = [x509.DirectoryName(bad.issuer_name)]
    bad.set(x509.AuthorityKeyIdentifier(bad.root.issuer.key_identifier.digest, issuer, 5), critical=False)


def _enciphers_with_a_curve(bad: Bad) -> None:
    bad.set(usage("digital_signature", "key_encipherment"), critical=True)


def _uncritical_stamps(bad: Bad) -> None:
    bad.set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=False)


def _same_purpose_twice(bad: Bad) -> None:
    bad.set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH] * 2), critical=False)


def _no_purpose_is_left(bad: Bad) -> None:
    bad.set(usage("crl_sign"), critical=True)
    bad.set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _no_check_without_ocsp(bad: Bad) -> None:
    bad.set(x509.OCSPNoCheck(), critical=False)


def _name_twice(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([x509.DNSName("a.example")] * 2), critical=False)


def _no_name(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([]), critical=False)


def _false_host(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([x509.DNSName("a..example")]), critical=False)


def _false_mailbox(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([x509.RFC822Name("a@b..example")]), critical=False)


def _relative_uri(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("/path")]), critical=False)


def _directory_name(bad: Bad) -> None:
    bad.set(x509.SubjectAlternativeName([x509.DirectoryName(bad.subject)]), critical=False)


def _points(url: str, reasons: frozenset[x509.ReasonFlags] | None = None) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, reasons, None)]
    )


def _crl_over_tls(bad: Bad) -> None:
    bad.set(_points("https://pki.example/crl"), critical=False)


def _crl_for_some_reasons(bad: Bad) -> None:
    bad.set(_points("http://pki.example/crl", frozenset({x509.ReasonFlags.key_compromise})), critical=False)


def _ocsp_without_host(bad: Bad) -> None:
    location = x509.UniformResourceIdentifier("http:///ocsp")
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)
    bad.set(x509.AuthorityInformationAccess([access]), critical=False)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (_other_signature, "do not name a signature algorithm of ECDSA-256 keys"),
        (_long_name, "subject: 2.5.4.6 is a string of another type"),
        (_old_string, "subject: 2.5.4.3 is a string of another type"),
        (_empty_attribute, "subject: 2.5.4.10 is empty"),
        (_twice_in_a_relative_name, "stands twice in one relative name"),
        (_critical_san, "subjectAltName is critical beside a subject"),
        (_unknown_extension, "1.3.6.1.4.1.11129.2.4.3 belongs to no profile"),
        (_critical_aki, "authorityKeyIdentifier is critical"),
        (_uncritical_usage, "keyUsage is not critical"),
        (_aki_with_serial, "authorityKeyIdentifier names a certificate"),
        (_enciphers_with_a_curve, "ECDSA keys have no key encipherment"),
        (_uncritical_stamps, "time stamping authority is not critical"),
        (_same_purpose_twice, "extKeyUsage has a purpose twice"),
        (_no_purpose_is_left, "keyUsage allows nothing that extKeyUsage is for"),
        (_no_check_without_ocsp, "no OCSP responder's"),
        (_name_twice, "subjectAltName has a name twice"),
        (_no_name, "subjectAltName is empty"),
        (_false_host, '"a..example" is not a name of its kind'),
        (_false_mailbox, "is not a name of its kind"),
        (_relative_uri, '"/path" is not a name of its kind'),
        (_directory_name, "is not a name of its kind"),
        (_crl_over_tls, '"https://pki.example/crl" is no HTTP address'),
        (_crl_for_some_reasons, "not just its full name"),
        (_ocsp_without_host, '"http:///ocsp" is no HTTP address'),
        (_short_serial, "serialNumber has 3 bits"),
        (_before_the_issuer, "notBefore is before the issuer's"),
        (_after_the_issuer, "notAfter is past the issuer's"),
        (_no_subject, "subjectAltName is not critical"),
        (_other_issuer, "the issuer is not named as in its certificate"),
        (_no_constraints, "basicConstraints is missing"),
        (_signs_certificates, "keyCertSign and the CA bit do not agree"),
        (_ca_without_bit, "keyCertSign and the CA bit do not agree"),
        (_no_ski, "subjectKeyIdentifier is missing"),
        (_no_aki, "authorityKeyIdentifier is missing"),
        (_other_aki, "authorityKeyIdentifier is not the issuer's"),
        (_no_usage, "neither keyUsage nor extKeyUsage allows anything"),
        (_empty_usage, "neither keyUsage nor extKeyUsage allows anything"),
        (_timestamps_and_serves, "timestamping goes with no other"),
        (_nameless_server, "add dnsNames or ipAddresses"),
        (_weak_key, "subjectPublicKeyInfo: RSA keys have"),
        (_issuers_key, "the issuer's key in a certificate that is not its own"),
        (_leaf_with_name_constraints, "nameConstraints in a certificate that is no CA's"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_defect_is_found_alone(root: Authority, spoil: Callable[[Bad], None], finding: str) -> None:
    """One defect, one finding, and its section is named."""
    bad = Bad(root)
    assert bad.findings() == ()
    spoil(bad)
    (found,) = bad.findings()
    assert finding in found


def findings(authority: Authority, manifest: Mapping[str, Any], *, key: str = "leaf") -> tuple[str, ...]:
    """Lint what CLM's own builder makes of a manifest."""
    return lint(authority.draft(certificate_spec(manifest), authority.keys.get(key)), issuer=authority.issuer)


@pytest.mark.parametrize(
    ("above", "asked", "expected"),
    [
        (None, None, ""),
        (1, None, ""),
        (1, 0, ""),
        (1, 1, "leave room for one of 0 at most"),
        (0, None, "leave no room"),
        (0, 0, "leave no room"),
    ],
)
def test_path_lengths(root: Authority, above: int | None, asked: int | None, expected: str) -> None:
    """A CA finds room below its issuer, or is not made."""
    issuing = root.below(
        ROOT | {"commonName": "Issuing", "maxPathLen": above, "duration": "8760h"}, name=f"path-{above}"
    )
    found = findings(issuing, {"commonName": "Below", "isCA": True, "maxPathLen": asked}, key="below")
    assert (expected in "".join(found)) if expected else found == ()


def test_path_lengths_count_from_the_root(root: Authority) -> None:
    """A limit further up binds, though the issuer itself has none."""
    first = root.below(ROOT | {"commonName": "First", "maxPathLen": 1, "duration": "8760h"}, name="first")
    second = first.below({"commonName": "Second", "isCA": True}, name="second")
    assert second.issuer.path_length == 0
    assert "leave no room" in "".join(findings(second, {"commonName": "Third", "isCA": True}, key="third"))
    assert findings(second, LEAF) == ()


def test_names_lie_within_the_constraints_above(root: Authority) -> None:
    """A name that every verifier would refuse is found, with what is permitted."""
    limits = {"nameConstraints": {"permitted": {"dnsDomains": ["shop.svc"]}, "critical": True}}
    issuing = root.below(ROOT | {"commonName": "Constrained", "duration": "8760h"} | limits, name="lint-constrained")
    assert findings(issuing, LEAF) == ()
    (found,) = findings(issuing, LEAF | {"dnsNames": ["web.shop.svc", "web.other.svc"]})
    assert '"web.other.svc" is not permitted' in found


def test_a_time_in_the_form_of_another_year_is_found(root: Authority) -> None:
    """GeneralizedTime before 2050 (RFC 5280 4.1.2.5); the library does not write that."""
    draft = root.draft(certificate_spec(LEAF), root.keys.get("leaf"))
    (found,) = lint(dataclasses.replace(draft, tbs=_twisted_time(draft.tbs)), issuer=root.issuer)
    assert "not in the form that its year asks for" in found


def test_another_version_is_found(root: Authority) -> None:
    """Extensions ask for version 3 (RFC 5280 4.1.2.1)."""
    draft = root.draft(certificate_spec(LEAF), root.keys.get("leaf"))
    spoiled = draft.tbs.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1)
    assert "version is not 3" in "".join(lint(dataclasses.replace(draft, tbs=spoiled), issuer=root.issuer))


def test_mailboxes_of_the_subject_lie_within_the_constraints_above(root: Authority) -> None:
    """RFC 5280 4.2.1.10: constraints on mailboxes are about emailAddress in the subject as well."""
    limits = {"nameConstraints": {"permitted": {"emailAddresses": ["shop.example"]}}}
    issuing = root.below(ROOT | {"commonName": "Mail", "duration": "8760h"} | limits, name="lint-mail")
    asked = {"usages": ["client auth"]}
    assert findings(issuing, asked | {"literalSubject": "E=a@shop.example"}) == ()
    (found,) = findings(issuing, asked | {"literalSubject": "E=a@other.example"})
    assert 'the subject\'s emailAddress: "a@other.example" is not permitted' in found


def test_an_ocsp_responder_says_that_nobody_need_ask_about_it(root: Authority) -> None:
    """RFC 6960 4.2.2.2.1."""
    bad = Bad(root)
    bad.set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    bad.set(x509.OCSPNoCheck(), critical=False)
    assert bad.findings() == ()


def test_a_ca_without_a_subject_is_found(root: Authority) -> None:
    """RFC 5280 4.1.2.6."""
    found = findings(root, {"isCA": True, "dnsNames": ["ca.example"]})
    assert "a CA's subject is empty (RFC 5280 4.1.2.6)" in found


def test_another_key_in_a_self_signed_certificate_is_found(root: Authority) -> None:
    """A certificate that signs itself holds the key that signs."""
    alone = dataclasses.replace(root.issuer, certificate_id=None, subject=None, not_before=None, not_after=None)
    draft = dataclasses.replace(root, issuer=alone).draft(certificate_spec(ROOT), root.keys.get("leaf"))
    (found,) = lint(draft, issuer=alone)
    assert "another in its own" in found
    assert lint(draft, issuer=dataclasses.replace(alone, certificate_id=uuid.uuid4())) == ()
