"""Every field of a Certificate reaches the certificate, as OpenSSL reads it."""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from clm.errors import InvalidInput
from clm.pki.chain import certificate_facts
from clm.pki.profile import Issuer, Urls
from clm.pki.sans import sans_as_records
from clm.pki.serial import serial_from_bytes, serial_hex
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import LEAF, Authority, certificate_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

RICH: dict[str, Any] = {
    "commonName": "web.shop.svc",
    "dnsNames": ["web.shop.svc", "*.web.shop.svc", "xn--mnchen-3ya.example"],
    "ipAddresses": ["10.20.30.40", "FD00:20::40"],
    "uris": ["spiffe://cluster.local/ns/shop/sa/web"],
    "emailAddresses": ["web@shop.example"],
    "otherNames": [{"oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "wéb@shop.example"}],
    "subject": {
        "organizations": ["Shop", "Shop Holding"],
        "countries": ["DE"],
        "organizationalUnits": ["Web"],
        "localities": ["München"],
        "provinces": ["Bayern"],
        "streetAddresses": ["Marienplatz 1"],
        "postalCodes": ["80331"],
        "serialNumber": "42-A",
    },
    "usages": ["digital signature", "content commitment", "server auth", "client auth", "s/mime"],
}


def text(der: bytes) -> str:
    """Have OpenSSL read a certificate."""
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-text", "-nameopt", "RFC2253,utf8,-esc_msb"]
    return subprocess.run(command, input=der, capture_output=True, check=True).stdout.decode()


def test_openssl_reads_every_field(root: Authority) -> None:
    """Names, usages, identifiers and serial are where a reader looks for them."""
    der = root.leaf(RICH)
    read, facts = text(der), certificate_facts(der)
    subject = "serialNumber=42-A,CN=web.shop.svc,postalCode=80331,street=Marienplatz 1,ST=Bayern,L=München,OU=Web,"
    assert f"Subject: {subject}O=Shop Holding,O=Shop,C=DE" in read
    assert serial_hex(serial_from_bytes(facts.serial_number)) in read
    assert "DNS:web.shop.svc, DNS:*.web.shop.svc, DNS:xn--mnchen-3ya.example, " in read
    assert "IP Address:10.20.30.40, IP Address:FD00:20:0:0:0:0:0:40, URI:spiffe://cluster.local/ns/shop/sa/web" in read
    assert "email:web@shop.example, othername: UPN::wéb@shop.example" in read
    assert "X509v3 Key Usage: critical\n                Digital Signature, Non Repudiation\n" in read
    assert "TLS Web Server Authentication, TLS Web Client Authentication, E-mail Protection" in read
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in read
    assert facts.subject_key_identifier.hex(":").upper() in read
    assert facts.authority_key_identifier == root.issuer.key_identifier.digest
    assert "Signature Algorithm: ecdsa-with-SHA256" in read


def test_facts_are_what_was_asked_for(root: Authority) -> None:
    """What the inventory gets from a certificate is what its manifest says."""
    spec = certificate_spec(RICH)
    facts = certificate_facts(root.leaf(RICH))
    assert list(facts.sans) == sans_as_records(spec)
    assert facts.common_name == "web.shop.svc"
    assert facts.usages == ("digital signature", "content commitment", "server auth", "client auth", "email protection")
    assert (facts.is_ca, facts.path_length, facts.key_algorithm) == (False, None, "ECDSA-256")
    assert facts.issuer == "CN=Root"


def test_a_ca_has_its_bits(root: Authority) -> None:
    """A CA's certificate says so, with path length and name constraints."""
    constraints = {
        "permitted": {"dnsDomains": [".shop.svc"], "ipRanges": ["10.0.0.0/8"]},
        "excluded": {"emailAddresses": ["shop.example"], "uriDomains": [".evil.example"]},
    }
    asked = {"commonName": "Issuing", "isCA": True, "maxPathLen": 0, "nameConstraints": constraints}
    issuing = root.below(asked, name="bits")
    read = text(issuing.issuer.chain[0])
    assert "CA:TRUE, pathlen:0" in read
    assert "X509v3 Key Usage: critical\n                Digital Signature, Certificate Sign, CRL Sign\n" in read
    assert "X509v3 Name Constraints: critical" in read
    for subtree in ("DNS:.shop.svc", "IP:10.0.0.0/255.0.0.0", "email:shop.example", "URI:.evil.example"):
        assert subtree in read
    assert issuing.issuer.path_length == 0
    assert len(issuing.issuer.name_constraints) == 1


def test_name_constraints_are_not_critical_only_where_somebody_says_so(root: Authority) -> None:
    """Whoever must serve clients that do not know them may have them so, against RFC 5280 4.2.1.10."""
    constraints = {"critical": False, "permitted": {"dnsDomains": [".shop.svc"]}}
    lax = root.below({"commonName": "Lax", "isCA": True, "nameConstraints": constraints}, name="lax")
    assert "X509v3 Name Constraints: \n" in text(lax.issuer.chain[0])


def test_urls_are_written_when_there_are_some(root: Authority) -> None:
    """CRL, OCSP and CA issuers point where they are told; without them the extensions are absent."""
    spec, key = certificate_spec(LEAF), root.keys.get("leaf")
    urls = Urls(
        crl=("http://pki.example/crl",), ocsp=("http://pki.example/ocsp",), ca_issuers=("http://pki.example/ca",)
    )
    read = text(root.issue(spec, key, urls))
    assert "Full Name:\n                  URI:http://pki.example/crl" in read
    assert "OCSP - URI:http://pki.example/ocsp" in read
    assert "CA Issuers - URI:http://pki.example/ca" in read
    without = text(root.issue(spec, key))
    assert "CRL Distribution" not in without
    assert "Authority Information Access" not in without


def test_the_san_is_critical_without_a_subject(root: Authority) -> None:
    """RFC 5280 4.2.1.6, both ways."""
    assert "Alternative Name: critical" in text(root.leaf({"dnsNames": ["a.example"]}))
    assert "Alternative Name: \n" in text(root.leaf({"dnsNames": ["a.example"], "commonName": "a"}))


def test_names_given_twice_are_written_once(root: Authority) -> None:
    """A repeated name is one name, in the certificate and in the record."""
    manifest = {"dnsNames": ["a.example", "b.example", "a.example"], "ipAddresses": ["::1", "0:0::1"]}
    facts = certificate_facts(root.leaf(manifest))
    assert [name["value"] for name in facts.sans] == ["a.example", "b.example", "::1"]
    assert list(facts.sans) == sans_as_records(certificate_spec(manifest))


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ({"dnsNames": ["ok.example", "bücher.example"]}, "spec.dnsNames[1]"),
        ({"ipAddresses": ["fe80::1%eth0"]}, "spec.ipAddresses[0]"),
        ({"uris": ["https://a.example/x/../y"]}, "spec.uris[0]"),
        ({"uris": ["https://a.example/x/%2E%2e/y"]}, "spec.uris[0]"),
        ({"uris": ["//a.example"]}, "spec.uris[0]"),
        ({"uris": ["http://[::1"]}, "spec.uris[0]"),
        ({"emailAddresses": ["a@b.example\x00@shop.example"]}, "spec.emailAddresses[0]"),
        ({"otherNames": [{"oid": "3.1.2", "utf8Value": "x"}]}, "spec.otherNames[0].oid"),
        ({"otherNames": [{"oid": "1.2.3", "utf8Value": "x\n"}]}, "spec.otherNames[0].utf8Value"),
        ({"commonName": "evil.example\x00.shop.svc"}, "spec.commonName"),
        ({"commonName": "x" * 65}, "spec.commonName"),
        ({"subject": {"countries": ["D", "DEU"]}}, "spec.subject.countries[0]"),
        ({"subject": {"organizations": ["ok", "x" * 65]}}, "spec.subject.organizations[1]"),
        ({"subject": {"serialNumber": "é"}}, "spec.subject.serialNumber"),
        ({"commonName": "a", "usages": ["digital signature", "encipher only"]}, "spec.usages"),
        ({"commonName": "a", "usages": ["key encipherment"]}, "spec.usages"),
    ],
)
def test_refuses_what_a_certificate_cannot_carry(root: Authority, manifest: Mapping[str, Any], field: str) -> None:
    """Each refusal names the field, and no control character gets into the message."""
    with pytest.raises(InvalidInput) as caught:
        root.leaf(manifest)
    assert caught.value.field == field
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("side", "item", "field"),
    [
        ("permitted", {"dnsDomains": ["ok.example", "*.example"]}, "permitted.dnsDomains[1]"),
        ("permitted", {"ipRanges": ["10.0.0.1/8"]}, "permitted.ipRanges[0]"),
        ("excluded", {"emailAddresses": ["@example"]}, "excluded.emailAddresses[0]"),
        ("excluded", {"uriDomains": ["https://a.example"]}, "excluded.uriDomains[0]"),
    ],
)
def test_refuses_subtrees_that_match_nothing(root: Authority, side: str, item: Mapping[str, Any], field: str) -> None:
    """A constraint that verifiers read otherwise than it was meant is worse than none."""
    with pytest.raises(InvalidInput) as caught:
        root.below({"commonName": "X", "isCA": True, "nameConstraints": {side: item}}, name="refused")
    assert caught.value.field == f"spec.nameConstraints.{field}"


def test_only_a_ca_becomes_an_issuer(root: Authority) -> None:
    """A leaf's certificate, or a CA's with another kind of key than recorded, is refused."""
    leaf = root.leaf()
    with pytest.raises(ValueError, match="not the certificate of a CA"):
        root.promoted(leaf, KeySpec("ECDSA", 256), root.keys.get("leaf"))
    with pytest.raises(ValueError, match="ECDSA-256, not ECDSA-384"):
        Issuer.from_chain(
            root.issuer.chain, key_id=uuid.uuid4(), spec=KeySpec("ECDSA", 384), certificate_id=uuid.uuid4()
        )


def test_two_certificates_have_two_serials(root: Authority) -> None:
    """Two certificates of one spec differ in their serials, and in nothing that was asked for."""
    first, second = (x509.load_der_x509_certificate(root.leaf()) for _ in range(2))
    assert first.serial_number != second.serial_number
    assert first.subject == second.subject
