"""Serial numbers: unpredictable, positive, at most 20 octets (RFC 5280 4.1.2.2; CA/B Baseline Requirements 7.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_OCTETS = 16
_TOO_LARGE = 1 << 159
"""Serial numbers are positive and have at most 20 octets (RFC 5280 4.1.2.2)."""
_MOST_DECIMALS = 48


def new_serial(randbytes: Callable[[int], bytes]) -> int:
    """Make a serial with 126 random bits, always 16 octets long in DER.

    The highest bit is clear (it is positive), the next is set (its length never varies). `randbytes` must be
    cryptographically secure; ValueError when it gives another number of octets than asked for.
    """
    octets = bytearray(randbytes(_OCTETS))
    if len(octets) != _OCTETS:
        raise ValueError(f"{_OCTETS} random octets were asked for, {len(octets)} came")
    octets[0] = (octets[0] & 0x3F) | 0x40
    return int.from_bytes(octets, "big")


def serial_to_bytes(serial: int) -> bytes:
    """Write a serial as the databases hold it: big-endian, unsigned, at least 8 octets."""
    return serial.to_bytes(max(8, (serial.bit_length() + 7) // 8), "big")


def serial_from_bytes(octets: bytes) -> int:
    """Read what `serial_to_bytes` wrote."""
    return int.from_bytes(octets, "big")


def serial_candidates(text: str) -> tuple[bytes, ...]:
    """Read a serial number as a person writes it, as `serial_to_bytes` writes it: every number that may be meant.

    Hexadecimal with or without colons, spaces, `0x` or openssl's `serial=`; digits alone may also be decimal. Raises
    InvalidInput on what is no serial number.

    >>> [octets.hex() for octets in serial_candidates("0x5f:3a")]
    ['0000000000005f3a']
    >>> [octets.hex() for octets in serial_candidates("16")]
    ['0000000000000016', '0000000000000010']
    """
    plain = text.strip().lower().removeprefix("serial=")
    marked = plain.startswith("0x") or ":" in plain
    digits = re.sub(r"[:\s]", "", plain.removeprefix("0x"))
    if not re.fullmatch("[0-9a-f]+", digits):
        raise InvalidInput("serial number", f"{text[:80]!r} is none: write it in hexadecimal, as openssl does")
    numbers = [int(digits, 16)]
    if not marked and digits.isdecimal() and len(digits) <= _MOST_DECIMALS:
        numbers.append(int(digits))
    fitting = [number for number in dict.fromkeys(numbers) if 0 < number < _TOO_LARGE]
    if not fitting:
        raise InvalidInput("serial number", f"{text[:80]!r} is none: it has 1 to 20 octets and is positive")
    return tuple(serial_to_bytes(number) for number in fitting)


def serial_hex(serial: int) -> str:
    """Write a serial as `openssl x509 -text` does: lower-case octets, joined with colons."""
    return serial_to_bytes(serial).hex(":")
