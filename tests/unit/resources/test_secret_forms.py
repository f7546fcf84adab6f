"""Which files the Secret is to have: read from the spec, and of no account for what is issued."""

from __future__ import annotations

from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.certificate import issuance_hash, parse_certificate

LEAF: dict[str, Any] = {"policyRef": {"name": "internal"}, "secretName": "web-tls", "dnsNames": ["web.shop.svc"]}
CA: dict[str, Any] = {**LEAF, "isCA": True}


def test_formats_are_a_set() -> None:
    """Their order does not matter, and none is asked for by default."""
    both = {**LEAF, "additionalOutputFormats": [{"type": "DER"}, {"type": "CombinedPEM"}]}
    assert parse_certificate(both).output_formats == {"CombinedPEM", "DER"}
    assert parse_certificate(LEAF).output_formats == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([{"type": "PEM"}], r"additionalOutputFormats\[0\].type: must be one of CombinedPEM, DER"),
        ([{}], r"additionalOutputFormats\[0\].type: is required"),
        ("DER", r"additionalOutputFormats: must be a list"),
    ],
)
def test_other_formats_are_refused(change: object, message: str) -> None:
    """The message names the field."""
    with pytest.raises(InvalidInput, match=message):
        parse_certificate({**LEAF, "additionalOutputFormats": change})


def test_a_key_in_the_hsm_has_no_forms() -> None:
    """It never leaves the token; the same CA with its key in the Secret may."""
    wanted = {**CA, "additionalOutputFormats": [{"type": "DER"}]}
    with pytest.raises(InvalidInput, match=r"spec\.additionalOutputFormats: needs the private key"):
        parse_certificate(wanted)
    assert parse_certificate({**wanted, "privateKey": {"storage": "Secret"}}).output_formats == {"DER"}


def test_no_form_issues_a_certificate_anew() -> None:
    """They decide how it is written only."""
    forms = {"additionalOutputFormats": [{"type": "DER"}], "privateKey": {"encoding": "PKCS1"}}
    assert issuance_hash(parse_certificate({**LEAF, **forms})) == issuance_hash(parse_certificate(LEAF))
