"""What the API server refuses by itself, and by which field it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.crds.conftest import Cluster, Manifests

LEAF: dict[str, Any] = {"policyRef": {"name": "internal"}, "secretName": "web-tls", "dnsNames": ["web.shop.svc"]}
CA: dict[str, Any] = {"policyRef": {"name": "root"}, "secretName": "ca", "commonName": "Root", "isCA": True}
POLICY: dict[str, Any] = {"issuer": {"ca": {"namespace": "clm-system", "name": "ca"}}}
ROTATION: dict[str, Any] = {"target": {"keyEncryptionKey": {}}}
CRL: dict[str, Any] = {"crl": {"lifetime": "24h"}}
REQUEST = "-----BEGIN NEW CERTIFICATE REQUEST-----\nMII=\n"

GOOD = [
    ("Certificate", LEAF),
    ("Certificate", CA),
    ("Certificate", {**LEAF, "dnsNames": ["*.shop.svc", "localhost", "xn--bcher-kva.example", "1.example"]}),
    ("Certificate", {**LEAF, "ipAddresses": ["10.0.0.1", "::1", "2001:db8::1"]}),
    ("Certificate", {**LEAF, "dnsNames": [], "subject": {"organizations": ["Shop"], "countries": ["DE"]}}),
    ("Certificate", {**LEAF, "duration": "1h", "renewBefore": "59m59s"}),
    ("Certificate", {**LEAF, "renewBefore": "2159h59m"}),
    ("Certificate", {**LEAF, "renewBefore": None, "renewBeforePercentage": 33}),
    ("Certificate", {**LEAF, "keystores": {"jks": {"create": True, "password": "x"}, "pkcs12": {"create": False}}}),
    ("Certificate", {**LEAF, "privateKey": {"algorithm": "Ed25519"}}),
    ("Certificate", {**LEAF, "privateKey": {"algorithm": "RSA", "size": 4096}}),
    (
        "Certificate",
        {
            **LEAF,
            "secretTemplate": {
                "labels": {"app": "web", "example.com/A_1": ""},
                "annotations": {
                    "not-clm-operator.io/a": "b",
                    "Example.com/a": "b",
                    **{f"a{number}": "x" * 8176 for number in range(16)},
                },
            },
        },
    ),
    ("Certificate", {**LEAF, "dnsNames": None, "request": "-----BEGIN CERTIFICATE REQUEST-----\nMII=\n"}),
    ("Certificate", {**LEAF, "dnsNames": None, "isCA": True, "maxPathLen": 0, "request": REQUEST}),
    ("Certificate", {**CA, "privateKey": {"storage": "Secret"}, "additionalOutputFormats": [{"type": "DER"}]}),
    ("Certificate", {**CA, "additionalOutputFormats": [], "keystores": {"jks": {"create": False}}}),
    (
        "Certificate",
        {
            **LEAF,
            "keystores": {"pkcs12": {"create": True, "profile": "Modern2026", "passwordSecretRef": {"name": "p"}}},
        },
    ),
    ("Certificate", {**CA, "privateKey": {"storage": "Secret", "algorithm": "RSA", "size": 8192}}),
    ("Certificate", {**LEAF, "privateKey": {"algorithm": "RSA", "size": 6144}}),
    ("Certificate", {**LEAF, "usages": ["server auth", "1.3.6.1.5.5.7.3.17"], "signatureAlgorithm": "ECDSAWithSHA512"}),
    ("Certificate", {**LEAF, "usages": ["timestamping", "digital signature"]}),
    ("Certificate", {**LEAF, "usages": ["key agreement", "encipher only"]}),
    ("Certificate", {**LEAF, "usages": ["server auth"], "dnsNames": None, "uris": ["spiffe://a/b"]}),
    ("Certificate", {**CA, "commonName": None, "literalSubject": "CN=a"}),
    *(
        ("Certificate", {**LEAF, "dnsNames": None, "literalSubject": subject})
        for subject in (
            "UID=jsmith,DC=example,DC=net",
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            'CN=James \\"Jim\\" Smith\\, III,DC=example,DC=net',
            "CN=Before\\0dAfter,DC=example,DC=net",
            "1.3.6.1.4.1.1466.0=#04024869",
            "CN=Lu\\C4\\8Di\\C4\\87",
            " CN = a = b , O = é",
        )
    ),
    ("Policy", {**POLICY, "allowed": {"usages": ["any", "1.3.6.1.5.5.7.3.17"]}}),
    (
        "Certificate",
        {**CA, "maxPathLen": 0, "authority": CRL, "nameConstraints": {"permitted": {"ipRanges": ["10.0.0.0/8"]}}},
    ),
    ("Policy", POLICY),
    ("Policy", {"issuer": {"selfSigned": {}}, "enforcement": "Audit"}),
    ("KeyRotation", ROTATION),
    ("KeyRotation", {**ROTATION, "rate": {"maxUnavailable": "5%"}}),
    ("KeyRotation", {**ROTATION, "rate": {"maxUnavailable": 5}}),
]


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_accepts(cluster: Cluster, manifests: Manifests, kind: str, spec: dict[str, Any]) -> None:
    """What is right is not refused."""
    assert cluster.try_create(manifests.make(kind, spec)) == {}


PROFILE = "spec.keystores.pkcs12.profile"
BAD_CERTIFICATES: list[tuple[dict[str, Any], str, str]] = [
    ({"policyRef": {}}, "spec.policyRef.name", "Required"),
    ({"policyRef": {"name": "No Policy"}}, "spec.policyRef.name", "should match"),
    ({"secretName": "Web"}, "spec.secretName", "should match"),
    ({"dnsNames": []}, "spec", "must have a commonName"),
    ({"dnsNames": ["web..svc"]}, "spec.dnsNames[0]", "should match"),
    ({"dnsNames": ["ok", "a.*.svc"]}, "spec.dnsNames[1]", "should match"),
    ({"dnsNames": ["bücher.example"]}, "spec.dnsNames[0]", "should match"),
    ({"dnsNames": ["a"] * 251}, "spec.dnsNames", "at most 250"),
    ({"ipAddresses": ["10.0.0.256"]}, "spec.ipAddresses[0]", "ipv4"),
    ({"uris": ["no-scheme"]}, "spec.uris[0]", "should match"),
    ({"emailAddresses": ["nobody"]}, "spec.emailAddresses[0]", "should match"),
    ({"otherNames": [{"oid": "UPN", "utf8Value": "a"}]}, "spec.otherNames[0].oid", "should match"),
    ({"otherNames": [{"oid": "0.40.1", "utf8Value": "a"}]}, "spec.otherNames[0].oid", "should match"),
    ({"otherNames": [{"oid": "1.2.3"}]}, "spec.otherNames[0].utf8Value", "Required"),
    ({"commonName": "x" * 65}, "spec.commonName", "64"),
    ({"subject": {"countries": ["Germany"]}}, "spec.subject.countries[0]", "more than 2"),
    ({"commonName": "é" * 33}, "spec.commonName", "64 octets"),
    ({"literalSubject": "web"}, "spec.literalSubject", "RFC 4514 string such as"),
    ({"literalSubject": "CN=a,"}, "spec.literalSubject", "RFC 4514 string such as"),
    ({"literalSubject": "CN=a;O=b"}, "spec.literalSubject", "RFC 4514 string such as"),
    ({"literalSubject": "CN=a\\zb"}, "spec.literalSubject", "RFC 4514 string such as"),
    ({"literalSubject": 'CN="a"'}, "spec.literalSubject", "RFC 4514 string such as"),
    ({"literalSubject": "CN=a", "commonName": "a"}, "spec.literalSubject", "excludes subject and commonName"),
    ({"duration": "90d"}, "spec.duration", "should match"),
    ({"duration": "59m"}, "spec.duration", "at least 1h"),
    ({"renewBefore": "2160h"}, "spec.renewBefore", "less than duration"),
    ({"duration": "2h", "renewBefore": "2h"}, "spec.renewBefore", "less than duration"),
    ({"renewBefore": "1m"}, "spec.renewBefore", "at least 5m"),
    ({"renewBefore": "1h", "renewBeforePercentage": 5}, "spec.renewBeforePercentage", "excludes renewBefore"),
    ({"renewBeforePercentage": 0}, "spec.renewBeforePercentage", "greater than or equal to 1"),
    ({"renewal": {"policy": "Sometimes"}}, "spec.renewal.policy", "Unsupported value"),
    ({"renewal": {"windows": [{"cron": "0 3 * * *"}]}}, "spec.renewal.windows[0].windowDuration", "Required"),
    ({"usages": ["magic"]}, "spec.usages[0]", "server auth|"),
    ({"usages": ["server auth", "1.3.6.01"]}, "spec.usages[1]", "server auth|"),
    ({"signatureAlgorithm": "SHA1WithRSA"}, "spec.signatureAlgorithm", "Unsupported value"),
    (
        {"isCA": True, "commonName": "CA", "privateKey": {"algorithm": "RSA", "size": 8192}},
        "spec.privateKey.size",
        "4096 at most",
    ),
    ({"usages": ["cert sign"]}, "spec.isCA", "must be true for"),
    ({"usages": ["decipher only"]}, "spec.usages", 'need "key agreement"'),
    ({"usages": ["timestamping", "client auth"]}, "spec.usages", "no other extended usage"),
    ({"usages": ["server auth"], "dnsNames": None, "commonName": "web"}, "spec.usages", "a name that clients look at"),
    ({"isCA": True}, "spec.isCA", "a CA needs a subject"),
    ({"privateKey": {"algorithm": "RSA", "size": 1024}}, "spec.privateKey.size", "3072, 4096, 6144 or 8192 for RSA"),
    ({"privateKey": {"algorithm": "RSA", "size": 256}}, "spec.privateKey.size", "3072, 4096, 6144 or 8192 for RSA"),
    ({"privateKey": {"algorithm": "Ed25519", "size": 384}}, "spec.privateKey.size", "absent for Ed25519"),
    ({"privateKey": {"size": 2048}}, "spec.privateKey.size", "256, 384 or 521 for ECDSA"),
    ({"privateKey": {"encoding": "DER"}}, "spec.privateKey.encoding", "Unsupported value"),
    ({"privateKey": {"storage": "HSM"}}, "spec.isCA", "must be true for"),
    ({"keystores": {"jks": {}}}, "spec.keystores.jks.create", "Required"),
    ({"keystores": {"jks": {"create": True}}}, "spec.keystores.jks", "exactly one of password"),
    (
        {"keystores": {"pkcs12": {"create": True, "password": "a", "passwordSecretRef": {"name": "b"}}}},
        "spec.keystores.pkcs12",
        "exactly one of password",
    ),
    ({"additionalOutputFormats": [{"type": "DER"}, {"type": "DER"}]}, "spec.additionalOutputFormats[1]", "Duplicate"),
    (
        {"keystores": {"jks": {"create": True, "password": "pässword"}}},
        "spec.keystores.jks.password",
        "printable ASCII",
    ),
    ({"keystores": {"jks": {"create": True, "password": "x" * 257}}}, "spec.keystores.jks.password", "256"),
    (
        {"keystores": {"jks": {"create": True, "password": "x", "alias": "ä"}}},
        "spec.keystores.jks.alias",
        "should match",
    ),
    ({"keystores": {"pkcs12": {"create": True, "password": "x", "profile": "Best"}}}, PROFILE, "Unsupported value"),
    (
        {"isCA": True, "commonName": "CA", "keystores": {"jks": {"create": True, "password": "x"}}},
        "spec.keystores",
        "private key",
    ),
    (
        {"isCA": True, "commonName": "CA", "additionalOutputFormats": [{"type": "DER"}]},
        "spec.additionalOutputFormats",
        "private key",
    ),
    ({"secretTemplate": {"labels": {"clm-operator.io/managed": "no"}}}, "spec.secretTemplate.labels", "CLM alone"),
    ({"secretTemplate": {"labels": {"app": "not a label"}}}, "spec.secretTemplate.labels.app", "should match"),
    ({"secretTemplate": {"annotations": {"x.clm-operator.io/a": ""}}}, "spec.secretTemplate.annotations", "CLM alone"),
    ({"secretTemplate": {"labels": {"Example.com/a": "b"}}}, "spec.secretTemplate.labels", "keys have to be"),
    ({"secretTemplate": {"labels": {"a b": "b"}}}, "spec.secretTemplate.labels", "keys have to be"),
    ({"secretTemplate": {"annotations": {"a/b/c": ""}}}, "spec.secretTemplate.annotations", "keys have to be"),
    (
        {"secretTemplate": {"annotations": {f"a{number}": "ü" * 4096 for number in range(16)}}},
        "spec.secretTemplate.annotations",
        "131072 bytes",
    ),
    ({"maxPathLen": 1}, "spec.isCA", "must be true for"),
    ({"nameConstraints": {"permitted": {"dnsDomains": ["a"]}}}, "spec.isCA", "must be true for"),
    (
        {"isCA": True, "commonName": "CA", "nameConstraints": {"critical": True}},
        "spec.nameConstraints",
        "permitted or excluded",
    ),
    (
        {"isCA": True, "commonName": "CA", "nameConstraints": {"excluded": {"ipRanges": ["10.0.0.1/8"]}}},
        "spec.nameConstraints.excluded.ipRanges[0]",
        "without host bits",
    ),
    (
        {"isCA": True, "commonName": "CA", "nameConstraints": {"excluded": {"ipRanges": ["10.0.0.0"]}}},
        "spec.nameConstraints.excluded.ipRanges[0]",
        "cidr",
    ),
    ({"authority": CRL}, "spec.isCA", "must be true for"),
    (
        {"authority": CRL, "isCA": True, "commonName": "CA", "privateKey": {"storage": "Secret"}},
        "spec.authority",
        "a key in the HSM",
    ),
    (
        {"authority": {"crl": {"lifetime": "30m"}}, "isCA": True, "commonName": "CA"},
        "spec.authority.crl.lifetime",
        "at least 1h",
    ),
    (
        {"authority": {"crl": {"lifetime": "9000h"}}, "isCA": True, "commonName": "CA"},
        "spec.authority.crl.lifetime",
        "at most 8784h",
    ),
    ({"request": "MII="}, "spec.request", "should match"),
    ({"request": REQUEST}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "privateKey": {}}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "commonName": "a"}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "subject": {}}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "literalSubject": "CN=a"}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "uris": ["spiffe://a/b"]}, "spec.request", "excludes"),
    ({"request": REQUEST, "dnsNames": None, "keystores": {}}, "spec.request", "need its private key"),
    (
        {"request": REQUEST, "dnsNames": None, "additionalOutputFormats": [{"type": "DER"}]},
        "spec.request",
        "need its private key",
    ),
    (
        {"request": REQUEST, "dnsNames": None, "isCA": True, "commonName": "CA", "authority": CRL},
        "spec.request",
        "need its private key",
    ),
    ({"request": REQUEST + "a" * 32768, "dnsNames": None}, "spec.request", "Too long"),
    ({"revocation": {}}, "spec.revocation.reason", "Required"),
    ({"revocation": {"reason": "certificateHold"}}, "spec.revocation.reason", "Unsupported value"),
    ({"revocation": {"reason": "cACompromise"}}, "spec.revocation.reason", "said of a CA"),
    ({"deletionPolicy": "Forget"}, "spec.deletionPolicy", "Unsupported value"),
    ({"revisionHistoryLimit": 0}, "spec.revisionHistoryLimit", "greater than or equal to 1"),
]


@pytest.mark.parametrize(("change", "field", "says"), BAD_CERTIFICATES)
def test_refuses_a_certificate(
    cluster: Cluster, manifests: Manifests, change: dict[str, Any], field: str, says: str
) -> None:
    """One mistake is refused by exactly its field, with a message that says what to do."""
    refused = cluster.try_create(manifests.make("Certificate", {**LEAF, **change}))
    assert list(refused) == [field]
    assert says in refused[field]


BAD_OTHERS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "Policy",
        {**POLICY, "allowed": {"subject": {"otherAttributes": [{"oid": "2.5.4.3", "values": ["*"]}]}}},
        "spec.allowed.subject.otherAttributes[0].oid",
        "a field of its own",
    ),
    ("Policy", {}, "spec.issuer", "Required"),
    ("Policy", {"issuer": {}}, "spec.issuer", "exactly one of ca and selfSigned"),
    ("Policy", {"issuer": {**POLICY["issuer"], "selfSigned": {}}}, "spec.issuer", "exactly one of ca and selfSigned"),
    ("Policy", {"issuer": {"ca": {"name": "ca"}}}, "spec.issuer.ca.namespace", "Required"),
    ("Policy", {**POLICY, "organization": "The Shop"}, "spec.organization", "should match"),
    (
        "Policy",
        {**POLICY, "allowed": {"ipAddresses": {"cidrs": ["10.0.0.1/8"]}}},
        "spec.allowed.ipAddresses.cidrs[0]",
        "host bits",
    ),
    ("Policy", {**POLICY, "allowed": {"usages": ["magic"]}}, "spec.allowed.usages[0]", "server auth|"),
    (
        "Policy",
        {**POLICY, "constraints": {"minDuration": "2h", "maxDuration": "1h"}},
        "spec.constraints.minDuration",
        "more than",
    ),
    ("Policy", {**POLICY, "namespaces": {"matchNames": []}}, "spec.namespaces.matchNames", "at least 1 items"),
    ("Policy", {**POLICY, "namespaces": {"matchLabels": {}}}, "spec.namespaces.matchLabels", "at least 1 properties"),
    (
        "Policy",
        {**POLICY, "constraints": {"privateKey": {"algorithms": []}}},
        "spec.constraints.privateKey.algorithms",
        "at least 1 items",
    ),
    ("Policy", {**POLICY, "approval": {}}, "spec.approval.required", "Required"),
    ("Policy", {**POLICY, "enforcement": "Ignore"}, "spec.enforcement", "Unsupported value"),
    ("Policy", {**POLICY, "rules": [{"expression": "true"}]}, "spec.rules[0].message", "Required"),
    ("KeyRotation", {"target": {}}, "spec.target", "exactly one of"),
    (
        "KeyRotation",
        {"target": {"keyEncryptionKey": {}, "certificates": {"policies": ["a"]}}},
        "spec.target",
        "exactly one of",
    ),
    ("KeyRotation", {"target": {"certificates": {}}}, "spec.target.certificates", "at least 1 properties"),
    ("KeyRotation", {**ROTATION, "timeZone": "Europe/Berlin"}, "spec.timeZone", "needs schedule"),
    ("KeyRotation", {**ROTATION, "rate": {"maxUnavailable": "half"}}, "spec.rate.maxUnavailable", "should match"),
]


@pytest.mark.parametrize("password", ["gehéim", "geheim\n", "geheim" * 50, ["geheim"], 9876543210])
def test_a_refused_password_is_not_shown(cluster: Cluster, manifests: Manifests, password: object) -> None:
    """What the API server says of it goes into the log of whatever applied it."""
    keystores = {"jks": {"create": True, "password": password}, "pkcs12": {"create": True, "password": password}}
    refused = cluster.try_create(manifests.make("Certificate", {**LEAF, "keystores": keystores}))
    assert set(refused) >= {"spec.keystores.jks.password", "spec.keystores.pkcs12.password"}
    assert not any(part in said for said in refused.values() for part in ("geh", "9876543210"))


@pytest.mark.parametrize(("kind", "spec", "field", "says"), BAD_OTHERS)
def test_refuses_a_policy_or_rotation(
    cluster: Cluster, manifests: Manifests, kind: str, spec: dict[str, Any], field: str, says: str
) -> None:
    """One mistake is refused by exactly its field, with a message that says what to do."""
    refused = cluster.try_create(manifests.make(kind, spec))
    assert list(refused) == [field]
    assert says in refused[field]
