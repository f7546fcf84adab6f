"""What a CA publishes: read from `spec.authority` with its defaults, and no part of what its own certificate is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.authority import AuthoritySpec, CrlSpec
from clm.resources.certificate import issuance_hash, parse_certificate

CA: dict[str, Any] = {"policyRef": {"name": "root"}, "secretName": "ca", "commonName": "Root", "isCA": True}


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (None, None),
        ({}, None),
        ({"crl": None, "ocsp": {"enabled": False}}, None),
        ({"crl": {}}, AuthoritySpec(crl=CrlSpec())),
        ({"ocsp": {"enabled": True}}, AuthoritySpec(ocsp=True)),
        (
            {"crl": {"lifetime": "1h30m", "shards": 16}, "ocsp": {"enabled": True}},
            AuthoritySpec(crl=CrlSpec(lifetime=timedelta(minutes=90), shards=16), ocsp=True),
        ),
    ],
)
def test_is_read_with_its_defaults(authority: object, expected: AuthoritySpec | None) -> None:
    """An empty `crl` asks for one of 24 hours in one piece; nothing asks for nothing."""
    spec = parse_certificate({**CA, "authority": authority})
    assert spec.authority == expected
    assert spec.unsupported == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"authority": {"crl": {"lifetime": "59m"}}}, "spec.authority.crl.lifetime"),
        ({"authority": {"crl": {"lifetime": "9000h"}}}, "spec.authority.crl.lifetime"),
        ({"authority": {"crl": {"shards": 0}}}, "spec.authority.crl.shards"),
        ({"authority": {"crl": {"shards": 257}}}, "spec.authority.crl.shards"),
        ({"authority": {"ocsp": {"enabled": "yes"}}}, "spec.authority.ocsp.enabled"),
        ({"authority": {"crl": {}}, "isCA": False}, "spec.authority"),
        ({"authority": {"crl": {}}, "privateKey": {"storage": "Secret"}}, "spec.authority"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    """The field is told that has to change."""
    with pytest.raises(InvalidInput) as caught:
        parse_certificate({**CA, **change})
    assert caught.value.field == field


def test_does_not_count_for_the_certificate_of_the_ca() -> None:
    """A CA that begins to publish, or publishes otherwise, is not issued anew."""
    published: list[dict[str, Any]] = [{}, {"crl": {}}, {"crl": {"shards": 8}, "ocsp": {"enabled": True}}]
    assert len({issuance_hash(parse_certificate({**CA, "authority": each})) for each in published}) == 1
