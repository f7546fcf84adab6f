"""Durations as Go writes them, which is how every duration stands in a manifest (`metav1.Duration`).

The language is that of Go's `time.ParseDuration`: ``2160h``, ``90m``, ``1h30m``, ``1.5h``. Negative ones, and more than
what fits into Go's 64 bits of nanoseconds, are refused.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek mu: Go reads both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_NANOSECONDS = 2**63 - 1
_MAX_LENGTH = 64
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(" + "|".join(_NANOSECONDS) + ")", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a Go duration; what is below a microsecond is cut off.

    >>> parse_duration("1h30m"), parse_duration("1.5h") == parse_duration("90m")
    (datetime.timedelta(seconds=5400), True)

    Raises ValueError, with a text fit for people, on anything else.
    """
    if text == "0":
        return timedelta()
    position, nanoseconds = 0, Fraction()
    while position < len(text) <= _MAX_LENGTH and (term := _TERM.match(text, position)):
        nanoseconds += Fraction(term[1].rstrip(".")) * _NANOSECONDS[term[2]]
        position = term.end()
    if not text or position != len(text):
        raise ValueError('is not a duration such as "2160h", "90m" or "1h30m"')
    if nanoseconds > _MAX_NANOSECONDS:
        raise ValueError("is longer than 292 years")
    return timedelta(microseconds=int(nanoseconds) // 1_000)


def format_duration(duration: timedelta) -> str:
    """Write a duration of at least zero as Go does: ``2160h0m0s``, ``1m30s``, ``1.5s``, ``250us``.

    `parse_duration` reads it back to the same value. Raises ValueError on a negative one.
    """
    microseconds = duration // timedelta(microseconds=1)
    if microseconds < 0:
        raise ValueError("is negative")
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:  # noqa: PLR2004 - below a millisecond
        return f"{microseconds}us"
    if microseconds < 1_000_000:  # noqa: PLR2004 - below a second
        return _decimal(microseconds, 1_000) + "ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 1_000_000) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".") if rest else str(whole)
