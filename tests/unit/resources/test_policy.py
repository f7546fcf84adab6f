"""A Policy's spec: every field reaches its place, and what is wrong is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.policy.evaluate import Request, evaluate
from clm.resources.certificate import CertificateSpec, OtherName, PrivateKeySpec, Subject
from clm.resources.keys import KeySpec
from clm.resources.policy import (
    Allowed,
    AllowedAddresses,
    AllowedOtherName,
    AllowedSubject,
    AllowedValues,
    CaIssuer,
    Constraints,
    NamespaceSelector,
    PolicySpec,
    SelfSigned,
    parse_policy,
)

ROOT: dict[str, Any] = {"issuer": {"selfSigned": {}}}


def test_the_least_policy_allows_nothing() -> None:
    """An attribute that is absent is not allowed; a bound that is absent is not there."""
    assert parse_policy(ROOT) == PolicySpec(issuer=SelfSigned(), allowed=Allowed(), constraints=Constraints())


def test_reads_every_field() -> None:
    """Nothing lands in a neighbour's place."""
    attributes = [
        "organizations",
        "countries",
        "organizationalUnits",
        "localities",
        "provinces",
        "streetAddresses",
        "postalCodes",
        "serialNumber",
    ]
    spec = parse_policy(
        {
            "issuer": {"ca": {"namespace": "clm-system", "name": "ca"}},
            "namespaces": {"matchLabels": {"a": "b"}, "matchNames": ["shop-*"]},
            "allowed": {
                "commonName": {"values": ["cn"], "required": True},
                "dnsNames": {"values": ["dns"]},
                "uris": {"values": ["uri"]},
                "emailAddresses": {},
                "ipAddresses": {"cidrs": ["10.0.0.0/8"], "required": True},
                "otherNames": [{"oid": "1.2.3", "values": ["other"], "required": True}],
                "subject": {name: {"values": [name]} for name in attributes},
                "usages": ["server auth"],
                "isCA": True,
            },
            "constraints": {
                "minDuration": "1h",
                "maxDuration": "2h",
                "privateKey": {
                    "algorithms": ["Ed25519", "RSA"],
                    "minSize": {"RSA": 3072},
                    "maxSize": {"ECDSA": 384},
                    "rotationPolicy": "Always",
                },
            },
        }
    )
    assert spec.issuer == CaIssuer(namespace="clm-system", name="ca")
    assert spec.namespaces == NamespaceSelector(match_labels={"a": "b"}, match_names=("shop-*",))
    assert spec.allowed == Allowed(
        common_name=AllowedValues(values=("cn",), required=True),
        dns_names=AllowedValues(values=("dns",)),
        uris=AllowedValues(values=("uri",)),
        email_addresses=AllowedValues(),
        ip_addresses=AllowedAddresses(cidrs=("10.0.0.0/8",), required=True),
        other_names=(AllowedOtherName(oid="1.2.3", values=("other",), required=True),),
        subject=AllowedSubject(
            organizations=AllowedValues(values=("organizations",)),
            countries=AllowedValues(values=("countries",)),
            organizational_units=AllowedValues(values=("organizationalUnits",)),
            localities=AllowedValues(values=("localities",)),
            provinces=AllowedValues(values=("provinces",)),
            street_addresses=AllowedValues(values=("streetAddresses",)),
            postal_codes=AllowedValues(values=("postalCodes",)),
            serial_number=AllowedValues(values=("serialNumber",)),
        ),
        usages=("server auth",),
        is_ca=True,
    )
    assert spec.constraints == Constraints(
        min_duration=timedelta(hours=1),
        max_duration=timedelta(hours=2),
        algorithms=("RSA", "Ed25519"),
        min_size={"RSA": 3072},
        max_size={"ECDSA": 384},
        rotation_policy="Always",
    )
    assert spec.unsupported == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"issuer": {}}, "spec.issuer.ca"),
        ({"issuer": {"ca": {"namespace": "a", "name": "b"}, "selfSigned": {}}}, "spec.issuer.ca"),
        ({"issuer": {"ca": {"name": "b"}}}, "spec.issuer.ca.namespace"),
        ({"allowed": {"ipAddresses": {"cidrs": ["10.0.0.0/8", "10.0.0.1/8"]}}}, "spec.allowed.ipAddresses.cidrs[1]"),
        ({"allowed": {"dnsNames": ["a"]}}, "spec.allowed.dnsNames"),
        ({"constraints": {"minDuration": "2h", "maxDuration": "1h"}}, "spec.constraints.minDuration"),
        ({"constraints": {"privateKey": {"algorithms": ["DSA"]}}}, "spec.constraints.privateKey.algorithms[0]"),
        ({"constraints": {"privateKey": {"minSize": {"RSA": "big"}}}}, "spec.constraints.privateKey.minSize.RSA"),
        ({"constraints": {"maxDuration": ""}}, "spec.constraints.maxDuration"),
        ({"constraints": {"minDuration": ""}}, "spec.constraints.minDuration"),
        ({"constraints": {"privateKey": {"algorithms": []}}}, "spec.constraints.privateKey.algorithms"),
        ({"constraints": {"privateKey": {"algorithms": ""}}}, "spec.constraints.privateKey.algorithms"),
        ({"namespaces": {"matchNames": []}}, "spec.namespaces.matchNames"),
        ({"namespaces": {"matchNames": {}}}, "spec.namespaces.matchNames"),
        ({"namespaces": {"matchLabels": {}}}, "spec.namespaces.matchLabels"),
        ({"namespaces": {"matchLabels": {}, "matchNames": ["shop"]}}, "spec.namespaces.matchLabels"),
        ({"trustBundle": {"configMap": "roots"}}, "spec.trustBundle"),
        ({"trustBundle": {}}, "spec.trustBundle.configMap"),
        (
            {
                "trustBundle": {
                    "configMap": "roots",
                    "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
                },
            },
            "spec.trustBundle.namespaceSelector.matchExpressions[0].values",
        ),
    ],
)
def test_names_the_wrong_field(change: dict[str, Any], field: str) -> None:
    """Each mistake is told with the path of its field."""
    with pytest.raises(InvalidInput) as caught:
        parse_policy({**ROOT, **change})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"organization": "shop"}, "spec.organization"),
        ({"rules": [{"expression": "true", "message": "m"}]}, "spec.rules"),
        ({"approval": {"required": 2}}, "spec.approval"),
        ({"approval": {}}, "spec.approval"),
        ({"quota": {"certificatesPerNamespace": 1}}, "spec.quota.certificatesPerNamespace"),
        ({"enforcement": "Audit"}, "spec.enforcement"),
        ({"notifications": [{"before": "1h", "sink": "s"}]}, "spec.notifications"),
        ({"issuer": {"selfSigned": {"crl": "x"}}}, "spec.issuer.selfSigned.crl"),
        ({"allowed": {"dnsNames": {"value": "x"}}}, "spec.allowed.dnsNames.value"),
    ],
)
def test_what_is_not_enforced_is_told(change: dict[str, Any], path: str) -> None:
    """A rule that this version does not enforce is listed, never passed over."""
    assert parse_policy({**ROOT, **change}).unsupported == (path,)


@pytest.mark.parametrize(
    "allowed",
    [
        *({name: {"values": []}} for name in ("commonName", "dnsNames", "uris", "emailAddresses")),
        {"ipAddresses": {"cidrs": []}},
        {"otherNames": []},
        {"otherNames": [{"oid": "1.2.3", "values": []}]},
        {"subject": {"organizations": {"values": []}}},
        {"usages": []},
    ],
    ids=str,
)
def test_empty_list_of_what_is_allowed_allows_nothing(allowed: dict[str, Any]) -> None:
    """Where an empty list narrows, it is taken at its word: none of that attribute."""
    spec = CertificateSpec(
        policy="p",
        secret_name="s",
        common_name="a.example",
        dns_names=("a.example",),
        uris=("urn:a",),
        email_addresses=("a@example.com",),
        ip_addresses=("10.0.0.1",),
        other_names=(OtherName(oid="1.2.3", utf8_value="a"),),
        subject=Subject(organizations=("A",)),
        duration=timedelta(hours=1),
        usages=("server auth",),
        private_key=PrivateKeySpec(key=KeySpec("ECDSA", 256)),
        secret_labels={},
        secret_annotations={},
    )
    request = Request(spec=spec, namespace="shop", namespace_labels={})
    assert _broken(request, {**ROOT, "allowed": allowed}) == _broken(request, ROOT)


def _broken(request: Request, policy: dict[str, Any]) -> list[tuple[str, str]]:
    return [(violation.field, violation.rule) for violation in evaluate(request, parse_policy(policy)).violations]


def test_what_asks_for_nothing_is_accepted() -> None:
    """Empty and default values."""
    empty: dict[str, Any] = {
        "rules": [],
        "quota": {},
        "enforcement": "Enforce",
        "namespaces": {},
        "organization": "",
        "approval": None,
    }
    assert parse_policy({**ROOT, **empty}) == parse_policy(ROOT)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(("issuer", "namespaces", "allowed", "constraints", "enforcement")), _JSON))
def test_garbage_is_read_or_refused(change: dict[str, Any]) -> None:
    """Whatever JSON stands in the fields: a spec or an InvalidInput, nothing else."""
    try:
        assert parse_policy({**ROOT, **change}).issuer == SelfSigned()
    except InvalidInput as error:
        assert error.field.startswith("spec")  # noqa: PT017 - both ways out are right
