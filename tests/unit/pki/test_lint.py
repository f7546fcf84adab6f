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
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clm.pki.lint import lint
from clm.pki.tbs import Draft
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
        key = self.root.throwaway.get(self.root.issuer.spec)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
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


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
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
