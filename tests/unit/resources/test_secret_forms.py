"""Which files the Secret is to have: read from the spec, and of no account for what is issued."""

from __future__ import annotations

from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.certificate import issuance_hash, parse_certificate
from clm.resources.keystores import JksKeystore, PasswordRef, Pkcs12Keystore

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


def test_keystores_are_read() -> None:
    """With cert-manager's defaults, but for the profile: that of cert-manager hides nothing."""
    spec = parse_certificate(_with_keystores(jks={"password": "a b"}, pkcs12={"passwordSecretRef": {"name": "p"}}))
    jks, pkcs12 = spec.keystores.jks, spec.keystores.pkcs12
    assert jks == JksKeystore(path="spec.keystores.jks", password="a b", alias="certificate")
    reference = PasswordRef("p", "password")
    assert pkcs12 == Pkcs12Keystore(path="spec.keystores.pkcs12", password_ref=reference, profile="Modern2023")
    assert list(spec.keystores) == [jks, pkcs12]
    assert "a b" not in repr(spec)


@pytest.mark.parametrize("empty", [{}, None, {"jks": {}}, {"jks": {"create": False, "password": "ü", "alias": "ca"}}])
def test_what_is_not_to_be_made_does_not_count(empty: object) -> None:
    """Also what is wrong about it."""
    assert parse_certificate({**LEAF, "keystores": empty}) == parse_certificate(LEAF)


@pytest.mark.parametrize(
    ("jks", "message"),
    [
        ({}, "jks.password: set exactly one of"),
        ({"password": "a", "passwordSecretRef": {"name": "b"}}, "jks.password: set exactly one of"),
        ({"password": ""}, "jks.password: set exactly one of"),
        ({"passwordSecretRef": {}}, "jks.passwordSecretRef.name: is required"),
        ({"passwordSecretRef": {"name": "web-tls"}}, "jks.passwordSecretRef.name: web-tls is spec.secretName"),
        ({"password": "geheim\n"}, "jks.password: ends with a line break"),
        ({"password": "geh\x7feim"}, "jks.password: has a character that is not printable ASCII"),
        ({"password": "gehéim"}, "jks.password: has a character that is not printable ASCII"),
        ({"password": "geheim" * 43}, "jks.password: has more than 256 characters"),
        ({"password": "a", "alias": "CA"}, 'jks.alias: must not be "CA"'),
        ({"password": "a", "alias": "ca-2"}, 'jks.alias: must not be "ca-2"'),
        ({"password": "a", "alias": "ä"}, "jks.alias: must be printable ASCII"),
        ({"create": None, "password": "a"}, "jks.create: is required"),
    ],
)
def test_wrong_keystores_are_refused(jks: dict[str, Any], message: str) -> None:
    """The message names the field, and shows nothing of the password."""
    with pytest.raises(InvalidInput) as caught:
        parse_certificate(_with_keystores(jks=jks))
    assert f"spec.keystores.{message}" in str(caught.value)
    assert "geh" not in str(caught.value)


def test_an_unknown_field_of_a_keystore_is_told() -> None:
    """It is not ignored."""
    assert parse_certificate(_with_keystores(jks={"password": "a", "type": "BCFKS"})).unsupported == (
        "spec.keystores.jks.type",
    )


def test_a_key_in_the_hsm_has_no_keystore() -> None:
    """Each is named."""
    with pytest.raises(InvalidInput, match=r"spec\.keystores\.jks: needs the private key"):
        parse_certificate({**_with_keystores(jks={"password": "a"}), "isCA": True})


def _with_keystores(**stores: dict[str, Any]) -> dict[str, Any]:
    return {**LEAF, "keystores": {name: {"create": True, **store} for name, store in stores.items()}}


def test_no_form_issues_a_certificate_anew() -> None:
    """They decide how it is written only."""
    forms = {"additionalOutputFormats": [{"type": "DER"}], "privateKey": {"encoding": "PKCS1"}}
    keystores = _with_keystores(jks={"password": "a"}, pkcs12={"password": "b"})
    assert issuance_hash(parse_certificate({**keystores, **forms})) == issuance_hash(parse_certificate(LEAF))
