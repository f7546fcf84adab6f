"""Durations mean in a manifest what they mean in Go, in both directions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.resources.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta()),
        ("2160h", timedelta(days=90)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("5.s", timedelta(seconds=5)),
        ("39h9m14.425s", timedelta(hours=39, minutes=9, seconds=14, milliseconds=425)),
        ("10.5s4m", timedelta(minutes=4, seconds=10.5)),
        ("1h1m1s1ms1us1000ns", timedelta(hours=1, minutes=1, seconds=1, milliseconds=1, microseconds=2)),
        ("1\u00b5s1\u03bcs", timedelta(microseconds=2)),
        ("999ns", timedelta()),
        ("0.1000000000000000000000h", timedelta(minutes=6)),
    ],
)
def test_reads_what_go_reads(text: str, expected: timedelta) -> None:
    """Vectors of Go's own tests of time.ParseDuration, and cert-manager's usual ones."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "3", "-", "s", ".", ".s", "-5s", "+5s", "1 h", "1h ", "1d", "90", "1h30", "1e3s", "٣h", "3000000h", "1h" * 40],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    """Negative, signed, unit-less, overflowing and very long ones are refused, with a reason."""
    with pytest.raises(ValueError, match=r"^is "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(days=90), "2160h0m0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(milliseconds=1100), "1.1s"),
        (timedelta(microseconds=2200), "2.2ms"),
        (timedelta(microseconds=3), "3us"),
        (timedelta(minutes=4, milliseconds=5001), "4m5.001s"),
    ],
)
def test_writes_as_go_does(duration: timedelta, expected: str) -> None:
    """Vectors of Go's own tests of Duration.String."""
    assert format_duration(duration) == expected


def test_refuses_to_write_a_negative_one() -> None:
    """No manifest holds one."""
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=290 * 365)))
def test_round_trip(duration: timedelta) -> None:
    """What is written is read back as the same value."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text does anything but give a duration or a ValueError."""
    try:
        assert parse_duration(text) >= timedelta()
    except ValueError as error:
        assert str(error).startswith("is ")  # noqa: PT017 - both ways out are right
