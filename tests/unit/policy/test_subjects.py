"""A subject that is one string is judged attribute by attribute, as if its fields had said it."""

from __future__ import annotations

from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.policy import parse_policy
from tests.unit.policy.deciding import ANY, OPEN, decide

DC, UID = "0.9.2342.19200300.100.1.25", "0.9.2342.19200300.100.1.1"
NAMED = "CN=web,O=Shop,OU=Web,C=DE,L=Köln,ST=NRW,STREET=Weg 1,postalCode=50667,serialNumber=42"


def violations(literal: str, **allowed: Any) -> list[tuple[str, str, str]]:
    """Judge a literal subject by a Policy that is open but for these fields."""
    return [tuple(found) for found in decide({"literalSubject": literal}, allowed=OPEN | allowed).violations]  # type: ignore[misc]


def other(oid: str, *values: str, required: bool = False) -> dict[str, Any]:
    """Allow an attribute without a field."""
    return {"oid": oid, "values": list(values), "required": required}


def test_what_an_open_policy_has_fields_for_is_allowed() -> None:
    """All nine, in any order, by keyword or object identifier."""
    assert violations(NAMED) == []
    assert violations("2.5.4.10=Shop+CN=web") == []


@pytest.mark.parametrize(
    ("literal", "what", "rule"),
    [
        ("CN=web", "CN", "allowed.commonName"),
        ("2.5.4.10=web", "O", "allowed.subject.organizations"),
        ("serialNumber=web", "serialNumber", "allowed.subject.serialNumber"),
        ("UID=web", f"UID ({UID})", "allowed.subject.otherAttributes"),
        ("1.2.3=web", "1.2.3", "allowed.subject.otherAttributes"),
    ],
)
def test_what_no_field_allows_is_refused_by_name(literal: str, what: str, rule: str) -> None:
    """The message has the attribute, its value and the rule."""
    (found,) = decide({"literalSubject": literal}, allowed={"usages": OPEN["usages"]}).violations
    said = f'spec.literalSubject: {what} "web" is not allowed; none is allowed (spec.{rule})'
    assert found == ("spec.literalSubject", rule, said)


def test_every_value_counts() -> None:
    """One that is allowed does not cover for another, in one relative name or in several."""
    allowed = {"organizationalUnits": {"values": ["Web*"]}, "organizations": ANY}
    found = violations("OU=Web,OU=Other,O=Shop+OU=Evil,OU=Webshop", subject=allowed)
    assert [message.split('"')[1] for _, _, message in found] == ["Evil", "Other"]


def test_other_attributes() -> None:
    """They are allowed by object identifier, with wildcards, and may be required, also of who has no literalSubject."""
    allowed = OPEN["subject"] | {"otherAttributes": [other(DC, "example", "o*g", required=True), other(UID, "web")]}
    assert violations("UID=web,DC=example,DC=org", subject=allowed) == []
    ((_, rule, message),) = violations("UID=web,DC=example,DC=net", subject=allowed)
    assert rule == "allowed.subject.otherAttributes"
    assert message == f'spec.literalSubject: DC ({DC}) "net" is not allowed; allowed: example, o*g'
    missing = f"spec.literalSubject: an attribute of type {DC} is required"
    assert [said for _, _, said in violations("UID=web", subject=allowed)] == [missing]
    plain = decide({"commonName": "web"}, allowed=OPEN | {"subject": allowed})
    assert [violation.message for violation in plain.violations] == [missing]


def test_required_fields() -> None:
    """A common name and an attribute that must be there must be in the string."""
    needed = {"values": ["*"], "required": True}
    found = violations("OU=Web", commonName=needed, subject=OPEN["subject"] | {"organizations": needed})
    assert [message for _, _, message in found] == [
        "spec.literalSubject: CN is required",
        "spec.literalSubject: O is required",
    ]


def test_an_attribute_that_has_a_field_has_no_other_rule() -> None:
    """Two rules for one attribute would leave it open which of them counts."""
    subject = {"otherAttributes": [other("2.5.4.10", "*")]}
    with pytest.raises(InvalidInput, match=r"otherAttributes\[0\].oid: .* field of its own: .*organizations"):
        parse_policy({"issuer": {"selfSigned": {}}, "allowed": {"subject": subject}})
