"""The hash that decides on re-issuance: it changes with the certificate, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from clm.resources.certificate import issuance_hash, parse_certificate

FULL: dict[str, Any] = {
    "policyRef": {"name": "internal"},
    "secretName": "web-tls",
    "commonName": "web",
    "dnsNames": ["a.shop.svc", "b.shop.svc"],
    "ipAddresses": ["10.0.0.1", "10.0.0.2"],
    "uris": ["spiffe://a/b"],
    "emailAddresses": ["a@example.com"],
    "otherNames": [{"oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "a@example.com"}],
    "subject": {"organizations": ["A", "B"], "serialNumber": "1"},
    "duration": "720h",
    "usages": ["digital signature", "server auth"],
    "isCA": True,
    "maxPathLen": 1,
    "nameConstraints": {"critical": True, "permitted": {"dnsDomains": ["shop.svc"]}},
}


def digest(**change: Any) -> str:
    """Hash the full spec with some fields changed."""
    return issuance_hash(parse_certificate({**FULL, **change})).hex()


def test_is_stable_across_versions() -> None:
    """A different value here re-issues every certificate of every installation after an upgrade."""
    assert digest() == "72faadc0cb4b13c40b0e75dd0865c368614874f8fc443e952a3ef44066c42ddb"


@pytest.mark.parametrize(
    "change",
    [
        {"secretName": "other"},
        {"secretTemplate": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
        {"renewBefore": "10h"},
        {"renewBeforePercentage": 20},
        {"deletionPolicy": "Retain"},
        {"duration": "43200m"},
        {"privateKey": {"algorithm": "ECDSA", "size": 256, "storage": "HSM", "encoding": "PKCS1"}},
        {"privateKey": {"rotationPolicy": "Never"}},
        {"revisionHistoryLimit": 3},
        {"encodeUsagesInRequest": False},
        {"dnsNames": ["b.shop.svc", "a.shop.svc", "b.shop.svc"]},
        {"usages": ["server auth", "digital signature", "cert sign"]},
    ],
)
def test_stays(change: dict[str, Any]) -> None:
    """Where and how the certificate is written, when it is renewed, and the order of names do not count."""
    assert digest(**change) == digest()


CHANGES: list[dict[str, Any]] = [
    {"policyRef": {"name": "other"}},
    {"commonName": "other"},
    {"commonName": None},
    {"dnsNames": ["a.shop.svc"]},
    {"ipAddresses": ["10.0.0.1"]},
    {"uris": []},
    {"emailAddresses": []},
    {"otherNames": []},
    {"otherNames": [{"oid": "1.2.3", "utf8Value": "a@example.com"}]},
    {"subject": {"organizations": ["B", "A"], "serialNumber": "1"}},
    {"subject": {"organizationalUnits": ["A", "B"], "serialNumber": "1"}},
    {"subject": {"organizations": ["A", "B"]}},
    {"duration": "721h"},
    {"usages": ["digital signature"]},
    {"privateKey": {"size": 384}},
    {"privateKey": {"algorithm": "Ed25519"}},
    {"privateKey": {"storage": "Secret"}},
    {"maxPathLen": 0},
    {"maxPathLen": None},
    {"nameConstraints": None},
    {"nameConstraints": {"critical": False, "permitted": {"dnsDomains": ["shop.svc"]}}},
    {"nameConstraints": {"critical": True, "excluded": {"dnsDomains": ["shop.svc"]}}},
    {"signatureAlgorithm": "ECDSAWithSHA256"},
    {"signatureAlgorithm": "ECDSAWithSHA384"},
    {"commonName": None, "subject": None, "literalSubject": "CN=web,O=A"},
    {"commonName": None, "subject": None, "literalSubject": "O=A,CN=web"},
    {"isCA": False, "maxPathLen": None, "nameConstraints": None},
]


def test_changes_with_the_certificate() -> None:
    """Each of these asks for another certificate; all hashes differ from each other."""
    digests = [digest(), *(digest(**change) for change in CHANGES)]
    assert len(set(digests)) == len(digests)
