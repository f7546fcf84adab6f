"""No field of the schema is silently ignored.

For every optional field of the Certificate and Policy specs a manifest is made that sets it alone, by the schema
in crds/. The API server must accept it, and the parser must show it in what it returns or list it as unsupported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from clm.resources.certificate import parse_certificate
from clm.resources.key_rotation import parse_key_rotation
from clm.resources.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.crds.conftest import Cluster, Manifests

CRDS = Path(__file__).parents[3] / "crds"
LEAF: dict[str, Any] = {"policyRef": {"name": "p"}, "secretName": "s", "dnsNames": ["a.example"]}
CA: dict[str, Any] = {**LEAF, "isCA": True, "commonName": "CA"}
BASES: dict[str, dict[str, Any]] = {
    "Certificate": LEAF,
    "Policy": {"issuer": {"ca": {"namespace": "n", "name": "c"}}},
    "KeyRotation": {"target": {"keyEncryptionKey": {}}},
}
PARSERS: dict[str, Any] = {"Certificate": parse_certificate, "Policy": parse_policy, "KeyRotation": parse_key_rotation}
FILES = {"Certificate": "certificates", "Policy": "policies", "KeyRotation": "keyrotations"}

WITHOUT_EFFECT = ("spec.encodeUsagesInRequest", "spec.revisionHistoryLimit")
"""Accepted because cert-manager's manifests have them: they are about its request objects, of which CLM has none."""
SHOWN_AND_LISTED = ("spec.deletionPolicy", "spec.organization")
KEYSTORES = ("jks", "pkcs12")
NEEDS_CA = ("maxPathLen", "nameConstraints", "authority")
VALUES: dict[str, Any] = {
    "renewBefore": "1h",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "schedule": "0 3 * * *",
    "dnsNames": ["b.example"],
    "ipAddresses": ["10.0.0.1"],
    "uris": ["spiffe://a/b"],
    "emailAddresses": ["a@example.com"],
    "ipRanges": ["10.0.0.0/8"],
    "cidrs": ["10.0.0.0/8"],
    "countries": ["DE"],
    "usages": ["server auth"],
    "oid": "1.2.3",
    "request": "-----BEGIN CERTIFICATE REQUEST-----",
    "algorithm": "RSA",
    "ECDSA": 384,
    "issuedBefore": "2026-06-01T00:00:00Z",
    "maxUnavailable": "5%",
    # These values ask for something: the others of the enum, or true, are what happens anyway.
    "deletionPolicy": "Revoke",
    "enforcement": "Audit",
    "encoding": "PKCS1",
    "rotationPolicy": "Never",
    "operator": "Exists",
    "policy": "Disabled",
    "size": 384,
}
COMPANIONS: dict[str, dict[str, Any]] = {
    "spec.isCA": {"isCA": True, "commonName": "CA"},
    "spec.privateKey.storage": {"isCA": True, "commonName": "CA", "privateKey": {"storage": "Secret"}},
    "spec.nameConstraints.critical": {
        "isCA": True,
        "commonName": "CA",
        "nameConstraints": {"critical": False, "permitted": {"dnsDomains": ["a"]}},
    },
    "spec.literalSubject": {"literalSubject": "CN=a"},
    "spec.request": {"request": "-----BEGIN CERTIFICATE REQUEST-----", "dnsNames": None},
    "spec.timeZone": {"timeZone": "Europe/Berlin", "schedule": "0 3 * * *"},
    "spec.trustBundle.namespaceSelector.matchExpressions.values": {
        "trustBundle": {
            "configMap": "a",
            "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        },
    },
}
WITHOUT: dict[str, dict[str, Any]] = {
    "spec.isCA": {**LEAF, "commonName": "CA"},
    "spec.privateKey.storage": CA,
    "spec.nameConstraints.critical": {**CA, "nameConstraints": {"permitted": {"dnsDomains": ["a"]}}},
    "spec.timeZone": {**BASES["KeyRotation"], "schedule": "0 3 * * *"},
}
"""What to compare with where a field needs company; else the base."""


class Lone(NamedTuple):
    """One field: a spec that sets it, and the same spec without it."""

    kind: str
    path: str
    spec: dict[str, Any]
    without: dict[str, Any]


def example(schema: dict[str, Any], name: str = "") -> Any:
    """Make a value that the schema accepts and that asks for something; only required fields of objects are set."""
    if schema.get("type") == "object" and "properties" in schema:
        wanted = schema.get("required") or list(schema["properties"])[: schema.get("minProperties", 0)]
        value = {field: example(schema["properties"][field], field) for field in wanted}
        return {**value, "password": "x"} if name in KEYSTORES else value
    kind = schema.get("type", "string")
    if name in VALUES and kind != "object":
        return VALUES[name] if kind != "array" or isinstance(VALUES[name], list) else [VALUES[name]]
    if kind == "array":
        return [example(schema["items"])]
    if schema.get("pattern", "").endswith("(ns|us|ms|s|m|h))+$"):
        return "2h"
    plain = {"object": {"key": "value"}, "boolean": True, "integer": schema.get("minimum"), "string": "a"}
    return schema["enum"][0] if "enum" in schema else plain[kind]


def settings(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over every field below an object schema, as (path, the least object that sets it)."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        value = example(field, name)
        if value != {}:  # an object that is empty asks for nothing: its fields do
            yield here, {name: value}
        inner = field.get("items", field)
        company = example(inner, name) if inner.get("type") == "object" and "properties" in inner else {}
        for deeper, lone in settings(inner, here):
            merged = {**company, **lone}
            if "passwordSecretRef" in lone:
                del merged["password"]
            yield deeper, {name: [merged] if field.get("type") == "array" else merged}


def lone_fields() -> Iterator[Lone]:
    """Iterate over every optional field of the three kinds."""
    for kind, base in BASES.items():
        loaded = yaml.safe_load((CRDS / f"{FILES[kind]}.yaml").read_text(encoding="utf-8"))
        schema = loaded["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for path, value in settings(schema, "spec"):
            top = path.split(".")[1]
            if top in ("policyRef", "secretName", "issuer", "target"):
                continue  # required: in every manifest, and the parsers' own tests change them
            start = CA if top in NEEDS_CA else base
            without = WITHOUT.get(path, start)
            yield Lone(kind, path, {**start, **COMPANIONS.get(path, value)}, without)


FIELDS = list(lone_fields())
IDS = [f"{field.kind}-{field.path}" for field in FIELDS]


def test_finds_the_fields() -> None:
    """The walk reaches the deepest ones; an empty list would prove nothing."""
    assert {"Certificate-spec.renewal.windows.cron", "Policy-spec.allowed.subject.localities.values"} <= set(IDS)
    assert len(FIELDS) > 140


@pytest.mark.parametrize("field", FIELDS, ids=IDS)
def test_is_shown_or_unsupported(field: Lone) -> None:
    """What is set makes a difference to what is parsed, or is listed."""
    parse = PARSERS[field.kind]
    with_it, without = parse(field.spec), parse(field.without)
    listed = any(field.path == path or field.path.startswith(f"{path}.") for path in with_it.unsupported)
    shown = replace(with_it, unsupported=()) != replace(without, unsupported=())
    if field.path in WITHOUT_EFFECT:
        assert with_it == without
        return
    assert listed or shown
    assert not (listed and shown) or field.path in SHOWN_AND_LISTED


@pytest.mark.parametrize("field", FIELDS, ids=IDS)
def test_is_accepted(cluster: Cluster, manifests: Manifests, field: Lone) -> None:
    """The manifests of this file are ones that the API server lets in."""
    assert cluster.try_create(manifests.make(field.kind, field.spec)) == {}
