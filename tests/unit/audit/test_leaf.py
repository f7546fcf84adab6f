"""A record's entry says all of the record, and nothing else has the same entry."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from clm.audit.leaf import (
    COLUMNS,
    Leaf,
    Values,
    entry,
    fields_of_line,
    json_of_values,
    leaf_of,
    values_of_json,
    values_of_line,
)
from clm.errors import RecordUnreadable

CANONICAL = COLUMNS.index("details_canonical")
DETAILS = COLUMNS.index("details")
TIME = COLUMNS.index("occurred_at")

# What PostgreSQL's text can hold: everything but NUL and half pairs.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
values_in_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def records(draw: st.DrawFn) -> Values:
    """Any record in canonical form."""
    details = draw(st.dictionaries(texts, values_in_json, max_size=3))
    values: Values = [draw(st.none() | texts.map(str.encode)) for _ in COLUMNS]
    values[COLUMNS.index("id")] = str(draw(st.uuids())).encode()
    values[TIME] = draw(st.datetimes()).isoformat(timespec="microseconds").encode() + b"Z"
    values[COLUMNS.index("ledger_epoch")] = b"1"
    values[COLUMNS.index("txid")] = str(draw(st.integers(3, 2**63))).encode()
    values[CANONICAL] = rfc8785.dumps(details)
    values[DETAILS] = json.dumps(details).encode()
    return values


def copy_line(values: Values) -> bytes:
    """Write a record as PostgreSQL's COPY does."""
    escapes = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    fields = []
    for index, value in enumerate(values):
        if value is None:
            fields.append("\\N")
        elif index == CANONICAL:
            fields.append("\\\\x" + value.hex())
        else:
            text = value.decode()
            if index == TIME:
                text = text.replace("T", " ").replace("Z", "+00")
            fields.append("".join(escapes.get(character, character) for character in text))
    return "\t".join(fields).encode()


@given(records())
def test_every_way_reads_the_same(values: Values) -> None:
    """COPY's text and a line of JSON give the record back, and a sound record has no fault."""
    assert values_of_line(copy_line(values))[:-1] == values[:-1]
    assert values_of_json(json.loads(json_of_values(values)))[:-1] == values[:-1]
    assert leaf_of(values).fault is None


@given(records(), records())
def test_entries_tell_records_apart(one: Values, other: Values) -> None:
    """Two records have one entry only when they are the same."""
    assert (entry(one) == entry(other)) == (one[:-1] == other[:-1])


@given(records(), st.data())
def test_any_flipped_bit_is_another_leaf(values: Values, data: st.DataObject) -> None:
    """A bit changed in any sealed column changes the hash."""
    filled = [index for index, value in enumerate(values[:-1]) if value and index not in {TIME, 3, 4}]
    index = data.draw(st.sampled_from(filled))
    octets = bytearray(values[index] or b"")
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = [*values]
    changed[index] = bytes(octets)
    assert entry(changed) != entry(values)


@given(records())
def test_null_is_not_empty(values: Values) -> None:
    """NULL and the empty text are two things."""
    null, empty = [*values], [*values]
    null[7], empty[7] = None, b""
    assert entry(null) != entry(empty)


@pytest.mark.parametrize(
    ("details", "canonical"),
    [
        ('{"a": 1}', '{"a":true}'),
        ('{"a": true}', '{"a":1}'),
        ('{"a": "1"}', '{"a":1}'),
        ('{"a": 1}', '{"a":1,"b":2}'),
        ('{"a": null}', "{}"),
        ("{}", '{"a": 1}'),
    ],
)
def test_details_that_say_something_else(details: str, canonical: str) -> None:
    """A difference of any kind between details and details_canonical is a fault."""
    assert _with(details, canonical).fault is not None


@pytest.mark.parametrize(
    ("details", "canonical"),
    [
        ('{"b": 1, "a": [true, null]}', '{"a":[true,null],"b":1}'),
        ('{"a": 1.0}', '{"a":1}'),
        ('{"a": 1000000000000000000000}', '{"a":1e+21}'),
        ('{"\\ud83d\\ude00": 1, "\\ufb33": 2}', '{"\U0001f600":1,"\ufb33":2}'),
    ],
)
def test_details_that_say_the_same(details: str, canonical: str) -> None:
    """What RFC 8785 writes of details is no fault, whatever jsonb makes of numbers and order."""
    assert _with(details, canonical).fault is None


@pytest.mark.parametrize("line", [b"", b"a\tb", b"\t".join([b"x"] * len(COLUMNS))])
def test_unreadable(line: bytes) -> None:
    """What is no record is said to be none."""
    with pytest.raises(RecordUnreadable):
        leaf_of(values_of_line(line))


def test_time_zones() -> None:
    """A time is the same in every zone that a server may write it in."""
    there = b"2026-03-01 14:00:00.5+02"
    fields = [b"x"] * len(COLUMNS)
    fields[TIME], fields[CANONICAL] = there, b"\\\\x7b7d"
    assert values_of_line(b"\t".join(fields))[TIME] == b"2026-03-01T12:00:00.500000Z"


def test_escapes() -> None:
    """Every escape of COPY's text format is understood."""
    assert fields_of_line(rb"a\tb	\N	\\N	\x41\102\q") == [b"a\tb", None, b"\\N", b"ABq"]


def _with(details: str, canonical: str) -> Leaf:
    values: Values = [b"1"] * len(COLUMNS)
    values[CANONICAL], values[DETAILS] = canonical.encode(), details.encode()
    return leaf_of(values)
