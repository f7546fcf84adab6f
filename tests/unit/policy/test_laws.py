"""What holds for every Policy and every Certificate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policy.deciding import NAME, OPEN, decide

VALUES = st.text(alphabet="ab*.é", min_size=1, max_size=5)
LISTS = st.lists(VALUES, max_size=3)
FIELDS = ("dnsNames", "uris", "emailAddresses")


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, LISTS)), st.fixed_dictionaries(dict.fromkeys(FIELDS, LISTS)), VALUES)
def test_allowing_more_never_forbids(asked: dict[str, list[str]], allowed: dict[str, list[str]], more: str) -> None:
    """One more allowed value adds no violation; an unrelated Policy that allows nothing forbids every value."""
    rules = {name: {"values": values} for name, values in allowed.items()}
    wider = {name: {"values": [*values, more]} for name, values in allowed.items()}
    fields = {violation.field for violation in decide(NAME | asked, allowed=OPEN | rules).violations}
    assert {violation.field for violation in decide(NAME | asked, allowed=OPEN | wider).violations} <= fields
    nothing = decide(NAME | asked, allowed={name: value for name, value in OPEN.items() if name not in FIELDS})
    assert len(nothing.violations) == sum(map(len, asked.values()))


@given(st.lists(st.text(min_size=1, max_size=20), max_size=4), st.text(max_size=20))
def test_any_text_gets_an_answer(texts: list[str], namespace: str) -> None:
    """Garbage in every list is refused or allowed, and never breaks a check or a message."""
    asked = NAME | {
        "dnsNames": texts,
        "uris": texts,
        "ipAddresses": texts,
        "subject": {"organizations": texts},
        "otherNames": [{"oid": text, "utf8Value": text} for text in texts],
    }
    decision = decide(asked, allowed={"ipAddresses": {"cidrs": ["::/0"]}}, namespace=namespace)
    assert all(violation.message.isprintable() for violation in decision.violations)
