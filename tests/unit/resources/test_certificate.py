"""A Certificate's spec: defaults, what is refused and how it is told, and what is never ignored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.resources.certificate import CertificateSpec, PrivateKeySpec, Subject, parse_certificate
from clm.resources.keys import KeySpec

LEAF: dict[str, Any] = {"policyRef": {"name": "internal"}, "secretName": "web-tls", "dnsNames": ["web.shop.svc"]}
CA: dict[str, Any] = {"policyRef": {"name": "root"}, "secretName": "ca", "commonName": "Root", "isCA": True}


def test_defaults_of_a_leaf() -> None:
    """What is absent is cert-manager's default, but for the key: ECDSA P-256 in PKCS#8, new with each certificate."""
    assert parse_certificate(LEAF) == CertificateSpec(
        policy="internal",
        secret_name="web-tls",
        dns_names=("web.shop.svc",),
        subject=Subject(),
        duration=timedelta(days=90),
        usages=("digital signature", "key encipherment"),
        private_key=PrivateKeySpec(
            key=KeySpec("ECDSA", 256), encoding="PKCS8", rotation_policy="Always", storage="Secret"
        ),
        secret_labels={},
        secret_annotations={},
    )


def test_defaults_of_a_ca() -> None:
    """A CA's key is in the HSM, and it may sign certificates and CRLs."""
    spec = parse_certificate(CA)
    assert spec.private_key.storage == "HSM"
    assert spec.usages == ("digital signature", "key encipherment", "cert sign", "crl sign")
    assert spec.max_path_length is None


def test_a_ca_that_names_its_usages_still_signs() -> None:
    """RFC 5280 4.2.1.3: a CA without cert sign is none. Each usage is there once."""
    spec = parse_certificate({**CA, "usages": ["cert sign", "digital signature", "cert sign"]})
    assert spec.usages == ("cert sign", "digital signature", "crl sign")


def test_rsa_is_2048_by_default() -> None:
    """As in cert-manager."""
    assert parse_certificate({**LEAF, "privateKey": {"algorithm": "RSA"}}).private_key.key == KeySpec("RSA", 2048)


@pytest.mark.parametrize("absent", [None, "", [], {}, False])
def test_empty_is_absent(absent: object) -> None:
    """Templating tools leave empty fields behind: these ask for nothing."""
    fields = ("commonName", "duration", "literalSubject", "request") if absent == "" else ("keystores", "authority")
    empty = {**LEAF, **dict.fromkeys(fields, absent)}
    assert parse_certificate(empty) == parse_certificate(LEAF)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"policyRef": {}}, "spec.policyRef.name", "is required"),
        ({"policyRef": "internal"}, "spec.policyRef", "must be an object"),
        ({"secretName": None}, "spec.secretName", "is required"),
        ({"secretName": 7}, "spec.secretName", "must be a string"),
        ({"dnsNames": []}, "spec", "must have a commonName"),
        ({"dnsNames": "web"}, "spec.dnsNames", "must be a list"),
        ({"dnsNames": ["web", 1]}, "spec.dnsNames[1]", "must be a string"),
        ({"otherNames": [{"oid": "1.2.3"}]}, "spec.otherNames[0].utf8Value", "is required"),
        ({"otherNames": {}, "uris": {"a": 1}}, "spec.uris", "must be a list"),
        ({"duration": "90d"}, "spec.duration", "is not a duration"),
        ({"duration": "59m59s"}, "spec.duration", "at least 1h"),
        ({"renewBefore": "2160h"}, "spec.renewBefore", "less than duration"),
        ({"renewBefore": "4m"}, "spec.renewBefore", "at least 5m"),
        ({"renewBefore": "1h", "renewBeforePercentage": 9}, "spec.renewBeforePercentage", "excludes renewBefore"),
        ({"renewBeforePercentage": 100}, "spec.renewBeforePercentage", "from 1 to 99"),
        ({"renewBeforePercentage": True}, "spec.renewBeforePercentage", "whole number"),
        ({"usages": ["server auth", "magic"]}, "spec.usages[1]", '"magic" is neither an object identifier nor'),
        ({"usages": ["1.3.06"]}, "spec.usages[0]", '"1.3.06" is neither an object identifier nor'),
        ({"signatureAlgorithm": "SHA1WithRSA"}, "spec.signatureAlgorithm", "must be one of SHA256WithRSA, "),
        ({"literalSubject": "CN=web", "commonName": "web"}, "spec.literalSubject", "excludes subject and commonName"),
        (
            {"commonName": None, "literalSubject": "CN=web", "subject": {"organizations": ["A"]}},
            "spec.literalSubject",
            "excludes subject and commonName",
        ),
        ({"revisionHistoryLimit": 0}, "spec.revisionHistoryLimit", "must be a whole number from 1"),
        (
            {"isCA": True, "privateKey": {"algorithm": "RSA", "size": 8192}},
            "spec.privateKey.size",
            "RSA keys in the HSM have 2048, 3072, 4096 bits, not 8192",
        ),
        ({"usages": ["cert sign"]}, "spec.usages", "needs isCA: true"),
        ({"isCA": "yes"}, "spec.isCA", "must be true or false"),
        ({"maxPathLen": 0}, "spec.maxPathLen", "needs isCA: true"),
        ({"nameConstraints": {"critical": True}}, "spec.nameConstraints", "permitted or excluded"),
        ({"nameConstraints": {"permitted": {"dnsDomains": ["a"]}}}, "spec.nameConstraints", "needs isCA: true"),
        ({"privateKey": {"algorithm": "DSA"}}, "spec.privateKey.algorithm", "must be one of ECDSA, RSA, Ed25519"),
        ({"privateKey": {"size": 2048}}, "spec.privateKey.size", "ECDSA keys have 256, 384, 521 bits, not 2048"),
        ({"privateKey": {"storage": "HSM"}}, "spec.privateKey.storage", "needs isCA: true"),
        ({"privateKey": {"encoding": "DER"}}, "spec.privateKey.encoding", "must be one of"),
        ({"secretTemplate": {"labels": {"clm-operator.io/x": "y"}}}, "spec.secretTemplate.labels", "CLM alone"),
        ({"secretTemplate": {"annotations": {"a.clm-operator.io/x": ""}}}, "spec.secretTemplate.annotations", "alone"),
        ({"secretTemplate": {"labels": {"a": 1}}}, "spec.secretTemplate.labels", "values are strings"),
        ({"deletionPolicy": "Forget"}, "spec.deletionPolicy", "must be one of"),
        ({"revocation": {}}, "spec.revocation.reason", "is required"),
        ({"revocation": {"reason": "certificateHold"}}, "spec.revocation.reason", "must be one of"),
        ({"revocation": {"reason": "cACompromise"}}, "spec.revocation.reason", "is said of a CA"),
    ],
)
def test_names_the_wrong_field(change: dict[str, Any], field: str, message: str) -> None:
    """Each mistake is told with the path of its field and what to do."""
    with pytest.raises(InvalidInput) as caught:
        parse_certificate({**LEAF, **change})
    assert caught.value.field == field
    assert message in caught.value.message


def test_a_domain_that_only_ends_alike_is_not_ours() -> None:
    """Only clm-operator.io and its subdomains are reserved."""
    labels = {"not-clm-operator.io/x": "y", "clm-operator.io": "z"}
    assert parse_certificate({**LEAF, "secretTemplate": {"labels": labels}}).secret_labels == labels


def test_tells_all_mistakes_at_once() -> None:
    """So that they can be mended at once."""
    with pytest.raises(InvalidInput) as caught:
        parse_certificate({"usages": ["magic"], "duration": "1x", "isCA": 1})
    for field in ("spec.isCA", "spec.policyRef.name", "spec.secretName", "spec.duration", "spec.usages[0]"):
        assert field in str(caught.value)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"renewal": {"suggested": True}}, "spec.renewal.suggested"),
        ({"authority": {"crl": {"delta": True}}, "isCA": True}, "spec.authority.crl.delta"),
        ({"issuerRef": {"name": "x"}}, "spec.issuerRef"),
        ({"privateKey": {"curve": "P-256"}}, "spec.privateKey.curve"),
        ({"subject": {"title": "Dr"}}, "spec.subject.title"),
        ({"policyRef": {"name": "internal", "kind": "Policy"}}, "spec.policyRef.kind"),
    ],
)
def test_what_is_not_enforced_is_told(change: dict[str, Any], path: str) -> None:
    """A field that is set and not enforced is listed, also one that this version has never heard of."""
    assert parse_certificate({**LEAF, **change}).unsupported == (path,)


@pytest.mark.parametrize(
    "change",
    [
        {"keystores": {"jks": {"create": False, "alias": "x"}, "pkcs12": None}},
        {"deletionPolicy": "Retain"},
        {"renewal": {"policy": "RenewBefore", "windows": []}},
        {"authority": {"crl": None, "ocsp": {"enabled": False}}},
        {"revisionHistoryLimit": 1},
        {"encodeUsagesInRequest": True},
        {"additionalOutputFormats": []},
        {"revocation": None, "request": None},
    ],
)
def test_what_asks_for_nothing_is_accepted(change: dict[str, Any]) -> None:
    """A value that is what happens anyway changes nothing."""
    assert parse_certificate({**LEAF, **change}) == parse_certificate(LEAF)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = [
    "policyRef",
    "secretName",
    "commonName",
    "dnsNames",
    "ipAddresses",
    "uris",
    "emailAddresses",
    "otherNames",
    "subject",
    "duration",
    "renewBefore",
    "renewBeforePercentage",
    "usages",
    "privateKey",
    "isCA",
    "maxPathLen",
    "nameConstraints",
    "secretTemplate",
    "deletionPolicy",
    "keystores",
    "additionalOutputFormats",
    "renewal",
    "authority",
    "revocation",
    "encodeUsagesInRequest",
]


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON))
def test_garbage_is_read_or_refused(change: dict[str, Any]) -> None:
    """Whatever JSON stands in the fields: a spec or an InvalidInput, nothing else."""
    try:
        assert parse_certificate({**LEAF, **change}).policy
    except InvalidInput as error:
        assert error.field.startswith("spec")  # noqa: PT017 - both ways out are right
