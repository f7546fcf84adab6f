"""Fields that shape a certificate beyond its names: what is asked for stands in it, as read back by others."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from clm.resources.usages import USAGES
from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, LEAF_USAGES, ROOT, authority, certificate, issued_by, policy

if TYPE_CHECKING:
    from tests.e2e.world import World
    from tests.fix_x509 import GoX509

_OWN_USAGE = "1.3.6.1.4.1.55555.1.7"
_DC, _UID = "0.9.2342.19200300.100.1.25", "0.9.2342.19200300.100.1.1"

# Keys, what is asked for, and what stands in the certificate: a usage that keys of the kind do not have is left out,
# time stamping stands alone, and "encipher only" and "decipher only" go with key agreement only.
_USAGES: dict[str, tuple[dict[str, Any], list[str], tuple[list[str], list[str]]]] = {
    "rsa": (
        {"algorithm": "RSA"},
        ["signing", "content commitment", "key encipherment", "data encipherment", "crl sign", "any", "server auth"],
        (
            ["digital signature", "content commitment", "key encipherment", "data encipherment", "crl sign"],
            ["2.5.29.37.0", "1.3.6.1.5.5.7.3.1"],
        ),
    ),
    "agrees": (
        {},
        ["digital signature", "key agreement", "encipher only", "key encipherment", "code signing", "client auth"],
        (
            ["digital signature", "key agreement", "encipher only"],
            ["1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.2"],
        ),
    ),
    "extended": (
        {},
        [
            "key agreement",
            "decipher only",
            "email protection",
            "s/mime",
            "ipsec end system",
            "ipsec tunnel",
            "ipsec user",
            "ocsp signing",
            "microsoft sgc",
            "netscape sgc",
        ],
        (
            ["key agreement", "decipher only"],
            [
                "1.3.6.1.5.5.7.3.4",
                "1.3.6.1.5.5.7.3.5",
                "1.3.6.1.5.5.7.3.6",
                "1.3.6.1.5.5.7.3.7",
                "1.3.6.1.5.5.7.3.9",
                "1.3.6.1.4.1.311.10.3.3",
                "2.16.840.1.113730.4.1",
            ],
        ),
    ),
    "stamps": ({"algorithm": "Ed25519"}, ["timestamping"], ([], ["1.3.6.1.5.5.7.3.8"])),
}


def test_usages_by_object_identifier(world: World, namespace: str) -> None:
    """A usage without a name is written as it is, where the Policy names it; one with a name is that usage."""
    allowed = {"dnsNames": {"values": ["*"]}, "usages": ["digital signature", "client auth", _OWN_USAGE]}
    world.apply(policy(namespace, issued_by(ISSUING), allowed=allowed))
    asked = ["digital signature", "1.3.6.1.5.5.7.3.2", _OWN_USAGE]
    world.apply(certificate(namespace, "own", policyRef={"name": namespace}, usages=asked))
    world.wait_ready(namespace, "own")
    secret = world.secret(namespace, "own-tls")
    openssl.verify(secret, purpose="sslclient")
    expected = {"Digital Signature", "TLS Web Client Authentication", _OWN_USAGE}
    assert openssl.show(secret["tls.crt"]).usages == expected
    world.apply(certificate(namespace, "other", policyRef={"name": namespace}, usages=[*asked, f"{_OWN_USAGE}.1"]))
    assert f'"{_OWN_USAGE}.1" is not allowed' in world.wait_refused(namespace, "other", "PolicyViolation")["message"]


def test_signature_algorithm(world: World, namespace: str, go_x509: GoX509) -> None:
    """The hash that is asked for is signed with, if the issuing CA's key can; else the field and the CA are named."""
    world.apply(certificate(namespace, "web", signatureAlgorithm="SHA384WithRSA"))
    message = world.wait_refused(namespace, "web", "InvalidSpec")["message"]
    assert message.startswith("spec.signatureAlgorithm: SHA384WithRSA is not what clm-system/e2e-issuing signs with")
    world.apply(certificate(namespace, "web", signatureAlgorithm="ECDSAWithSHA512"))
    world.wait_ready(namespace, "web")
    secret = world.secret(namespace, "web-tls")
    openssl.verify(secret)
    assert openssl.show(secret["tls.crt"]).text.count("Signature Algorithm: ecdsa-with-SHA512") == 2
    (chain,) = go_x509.verify(secret["tls.crt"], secret["ca.crt"], name="web.example.com")
    assert chain[1:] == ["CN=E2E e2e-issuing", "CN=E2E e2e-root"]


@pytest.mark.slow
def test_the_largest_rsa_key(world: World, namespace: str) -> None:
    """RSA keys have up to 8192 bits, as in cert-manager. What is about its request objects is accepted."""
    key = {"algorithm": "RSA", "size": 8192}
    world.apply(certificate(namespace, "big", privateKey=key, revisionHistoryLimit=3, encodeUsagesInRequest=False))
    world.wait_ready(namespace, "big", timeout_s=300)
    secret = world.secret(namespace, "big-tls")
    openssl.key_fits(secret)
    assert "Public-Key: (8192 bit)" in openssl.show(secret["tls.crt"]).text


def test_additional_output_formats(world: World, namespace: str) -> None:
    """The key in DER is the key of the certificate; the combined file has key and chain, the key first."""
    formats = [{"type": "DER"}, {"type": "CombinedPEM"}]
    world.apply(certificate(namespace, "web", additionalOutputFormats=formats))
    world.wait_ready(namespace, "web")
    secret = world.secret(namespace, "web-tls")
    openssl.key_fits({**secret, "tls.key": secret["key.der"]})
    combined = secret["tls-combined.pem"]
    openssl.key_fits({"tls.key": combined, "tls.crt": combined})
    assert combined.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert openssl.split(combined) == openssl.split(secret["tls.crt"])


def test_every_usage(world: World, namespace: str, go_x509: GoX509) -> None:
    """Every name that a usage has is the bit or the object identifier that Go knows by it."""
    world.apply(policy(namespace, issued_by(ISSUING), allowed={"dnsNames": {"values": ["*"]}, "usages": list(USAGES)}))
    for name, (key, asked, _) in _USAGES.items():
        world.apply(certificate(namespace, name, policyRef={"name": namespace}, privateKey=key, usages=asked))
    covered = set()
    for name, (_, asked, expected) in _USAGES.items():
        world.wait_ready(namespace, name)
        (read,) = go_x509.read(openssl.split(world.secret(namespace, f"{name}-tls")["tls.crt"])[0])
        assert (read["keyUsage"] or [], read["extKeyUsage"] or []) == expected
        covered |= set(asked)
    assert covered == set(USAGES) - {"cert sign"}, "cert sign is for CAs: test_issue has one"


def test_name_constraints(world: World, namespace: str, go_x509: GoX509) -> None:
    """Subtrees of every kind, critical as by default or not as asked for, are what Go reads."""
    permitted = {
        "dnsDomains": ["example.com", ".corp.example"],
        "ipRanges": ["10.0.0.0/8", "2001:db8::/32"],
        "emailAddresses": ["alice@example.com", "example.org", ".corp.example"],
        "uriDomains": ["example.com", ".corp.example"],
    }
    excluded = {
        "dnsDomains": ["secret.example.com"],
        "ipRanges": ["10.9.0.0/16"],
        "emailAddresses": ["mallory@example.org"],
        "uriDomains": ["secret.example.com"],
    }
    both = {"permitted": permitted, "excluded": excluded}
    world.apply(authority(namespace, "strict", ROOT, nameConstraints=both))
    world.apply(authority(namespace, "lax", ROOT, nameConstraints={"critical": False, "permitted": permitted}))
    for name, critical in (("strict", True), ("lax", False)):
        world.wait_ready(namespace, name)
        (read,) = go_x509.read(world.secret(namespace, name)["tls.crt"])
        assert read["extensions"]["2.5.29.30"]["critical"] is critical
        assert read["permitted"] == _subtrees(permitted)
        assert read["excluded"] == _subtrees(excluded if critical else {})


@pytest.mark.parametrize(
    ("field", "value", "before"),
    [("renewBefore", "30h", timedelta(hours=30)), ("renewBeforePercentage", 25, timedelta(hours=24))],
)
def test_when_it_is_renewed(world: World, namespace: str, field: str, value: object, before: timedelta) -> None:
    """The status tells the moment, which is as long before the end that OpenSSL reads as was asked for, or earlier."""
    world.apply(certificate(namespace, "web", duration="96h", **{field: value}))
    body = world.wait_ready(namespace, "web")
    asked = openssl.show(world.secret(namespace, "web-tls")["tls.crt"]).not_after - before
    renewal = datetime.fromisoformat(body["status"]["renewalTime"])
    assert asked - timedelta(hours=9.6) <= renewal <= asked + timedelta(seconds=1)


def _subtrees(item: dict[str, list[str]]) -> dict[str, list[str] | None]:
    kinds = {"dns": "dnsDomains", "ip": "ipRanges", "emails": "emailAddresses", "uris": "uriDomains"}
    return {kind: item.get(field) for kind, field in kinds.items()}


def test_literal_subject(world: World, namespace: str, go_x509: GoX509) -> None:
    """The subject is the string, as OpenSSL writes it, in the order of RFC 4514 and with the types of RFC 5280.

    The Policy judges every attribute of it, also those that `subject` does not have.
    """
    others = [{"oid": _DC, "values": ["example", "org"]}, {"oid": _UID, "values": ["web*"]}]
    anything = {"values": ["*"]}
    allowed = {
        "commonName": {"values": ["web*"]},
        "subject": {"organizationalUnits": anything, "organizations": anything, "otherAttributes": others},
        "usages": LEAF_USAGES,
    }
    world.apply(policy(namespace, issued_by(ISSUING), allowed=allowed))
    subject = 'UID=web-1,CN=web \\"1\\"\\, züri,OU=Shop,OU=A+O=B,DC=example,DC=org'
    base = {"policyRef": {"name": namespace}, "dnsNames": None, "usages": ["digital signature", "client auth"]}
    world.apply(certificate(namespace, "web", **base, literalSubject=subject.replace("ü", "\\c3\\BC")))
    body = world.wait_ready(namespace, "web")
    secret = world.secret(namespace, "web-tls")
    openssl.verify(secret)
    assert openssl.show(secret["tls.crt"]).subject == subject
    (read,) = go_x509.read(openssl.split(secret["tls.crt"])[0])
    assert [[(each["type"], each["tag"], each["value"]) for each in rdn] for rdn in read["subject"]] == [
        [(_DC, 22, "org")],
        [(_DC, 22, "example")],
        [("2.5.4.10", 12, "B"), ("2.5.4.11", 12, "A")],
        [("2.5.4.11", 12, "Shop")],
        [("2.5.4.3", 12, 'web "1", züri')],
        [(_UID, 12, "web-1")],
    ]
    recorded = world.query(
        "core", "SELECT common_name FROM certificate_metadata WHERE id = %(id)s", id=body["status"]["certificateId"]
    )
    assert recorded == [{"common_name": 'web "1", züri'}]
    world.apply(certificate(namespace, "bad", **base, literalSubject="UID=admin,DC=example,SN=Smith"))
    message = world.wait_refused(namespace, "bad", "PolicyViolation")["message"]
    assert f'UID ({_UID}) "admin" is not allowed; allowed: web*' in message
    assert 'SN (2.5.4.4) "Smith" is not allowed; none is allowed' in message
