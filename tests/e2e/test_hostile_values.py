"""No value of any field confuses CLM: it is refused, or a condition names the field, or what is issued is sound."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import openssl
from tests.e2e.api import ApiError
from tests.e2e.manifests import UPN, authority, certificate
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_TEXTS = (
    "",
    " ",
    " a.example.com",
    "a.example.com\n",
    "a\x00.example.com",
    "a\x7f\x1b[31m",
    "..",
    "../../etc/passwd",
    "*",
    "*.*.example.com",
    "a*.example.com",
    "a..example.com",
    "-a.example.com",
    "xn--zzzzzz.example.com",
    "bücher.example",
    "\u202egnp.example",
    "\ud7ff\U0001f511",
    "a" * 64,
    f"{'a' * 64}.example.com",
    "a" * 300,
    "a." * 400,
    "'; DROP TABLE certificates; --",
    "%00%n%s{{7*7}}${jndi:ldap://x}",
    "CN=admin,O=system:masters",
    "-----BEGIN PRIVATE KEY-----",
    "999999999h",
    "1h1h1h1h",
    "0",
    "-1",
    "1e9",
    "0.0.0.0/0",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "0177.0.0.1",
    "file:///etc/passwd",
    "https://user:pass@[::1]:99999/%2e%2e/a",
    "javascript:alert(1)",
    '"a b"@example.com',
    "a@b@c",
    "a@[10.0.0.1]",
    "2.999999999999999999999999999999.1",
    "0.40",
)
_OTHERS: tuple[object, ...] = (0, -1, 2**31, 2**63, 1.5, True, [], {}, [[]], [None], {"name": {"name": "x"}})

_EVERYWHERE = (
    "policyRef.name",
    "secretName",
    "commonName",
    "literalSubject",
    "dnsNames[]",
    "ipAddresses[]",
    "uris[]",
    "emailAddresses[]",
    "otherNames[].oid",
    "otherNames[].utf8Value",
    "subject.organizations[]",
    "subject.countries[]",
    "subject.streetAddresses[]",
    "subject.serialNumber",
    "duration",
    "renewBefore",
    "renewBeforePercentage",
    "usages[]",
    "signatureAlgorithm",
    "privateKey.algorithm",
    "privateKey.size",
    "privateKey.encoding",
    "secretTemplate.labels.some",
    "secretTemplate.annotations.some",
    "deletionPolicy",
    "keystores.pkcs12",
    "keystores.jks.alias",
    "keystores.jks.password",
    "additionalOutputFormats[].type",
)
_KEYS = ("secretTemplate.labels", "secretTemplate.annotations")
"""Objects whose keys are anything too."""

_IN_AUTHORITIES = (
    "maxPathLen",
    "nameConstraints.permitted.dnsDomains[]",
    "nameConstraints.permitted.ipRanges[]",
    "nameConstraints.excluded.emailAddresses[]",
    "nameConstraints.excluded.uriDomains[]",
)
_FULL: dict[str, Any] = {"otherNames": [{"oid": UPN, "utf8Value": "a@example.com"}]}
_KEYSTORE: dict[str, Any] = {"keystores": {"jks": {"create": True, "password": "changeit"}}}


@dataclass(frozen=True, slots=True)
class _Case:
    field: str
    value: object
    name: str


def _with(spec: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Put a value at a path, "a.b[].c": the first item of a list."""
    changed = copy.deepcopy(spec)
    here: Any = changed
    *parents, last = path.split(".")
    for part in parents:
        key = part.removesuffix("[]")
        here = here.setdefault(key, [{}] if part.endswith("[]") else {})
        here = here[0] if part.endswith("[]") else here
    here[last.removesuffix("[]")] = [value] if last.endswith("[]") else value
    return changed


def _cases(fields: tuple[str, ...]) -> Iterator[_Case]:
    number = 0
    for field in fields:
        for value in (*_TEXTS, *_OTHERS):
            number += 1
            yield _Case(field, value, f"hostile-{number}")


def _cases_of_keys() -> Iterator[_Case]:
    for index, field in enumerate(_KEYS):
        for number, text in enumerate(_TEXTS):
            yield _Case(field, {text: "some"}, f"hostile-key-{index}-{number}")


def _send(
    world: World, cases: Iterator[_Case], make: Callable[..., Manifest], namespace: str
) -> tuple[list[_Case], int]:
    """Create an object for each case; give those that the API server has let in, and how many it refused."""
    admitted, refused = [], 0
    for case in cases:
        manifest = make(namespace, case.name)
        company = _KEYSTORE if case.field.startswith("keystores.jks") else {}
        manifest["spec"] = _with(manifest["spec"] | company, case.field, case.value)
        status = _try_create(world, manifest)
        assert status < 500, f"{case}: {status}"
        if status < 400:
            admitted.append(case)
        else:
            refused += 1
    return admitted, refused


def _try_create(world: World, manifest: Manifest) -> int:
    try:
        world.api.create(manifest)
    except ApiError as error:
        return error.status
    return 201


def _judge(world: World, namespace: str, admitted: list[_Case]) -> int:
    """Hold every admitted object to the promise; give how many have become Ready."""
    ready = 0
    path = f"/apis/clm-operator.io/v1alpha1/namespaces/{namespace}/certificates"

    def undecided() -> list[str]:
        return [item["metadata"]["name"] for item in world.api.items(path) if condition(item, "Ready") is None]

    wait(lambda: None if undecided() else True, "a Ready condition of every object", last=lambda: str(undecided()))
    found = {item["metadata"]["name"]: item for item in world.api.items(path)}
    for case in admitted:
        item = found[case.name]
        verdict = condition(item, "Ready") or {}
        if verdict["status"] == "True":
            ready += 1
            openssl.verify(world.secret(namespace, item["spec"]["secretName"]))
        else:
            root = case.field.partition(".")[0].removesuffix("[]")
            assert f"spec.{root}" in verdict["message"], f"{case}: {verdict}"
            assert all(character.isprintable() for character in verdict["message"]), f"{case}: {verdict}"
    return ready


@pytest.mark.parametrize(
    ("make", "fields"), [(certificate, _EVERYWHERE), (authority, _IN_AUTHORITIES)], ids=["leaf", "authority"]
)
def test_garbage_in_every_field(
    world: World, namespace: str, make: Callable[..., Manifest], fields: tuple[str, ...]
) -> None:
    """Whatever is written into whatever field, the operator says what is wrong, or issues something sound.

    And it goes on: a good certificate is issued afterwards, by the same process.
    """
    before = world.environment.processes.find("clm-controller")

    def make_one(where: str, name: str) -> Manifest:
        if make is authority:
            return authority(where, name, "e2e-root", privateKey={"algorithm": "ECDSA"})
        return certificate(where, name, **_FULL)

    cases = chain(_cases(fields), _cases_of_keys() if make is certificate else ())
    admitted, refused = _send(world, cases, make_one, namespace)
    assert len(admitted) > 20
    assert refused > 20
    ready = _judge(world, namespace, admitted)
    assert ready < len(admitted)
    world.apply(certificate(namespace, "good"))
    world.wait_ready(namespace, "good")
    assert world.environment.processes.find("clm-controller") == before
