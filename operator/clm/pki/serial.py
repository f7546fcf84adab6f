"""Serial numbers: unpredictable, positive, at most 20 octets (RFC 5280 4.1.2.2; CA/B Baseline Requirements 7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_OCTETS = 16


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


def serial_hex(serial: int) -> str:
    """Write a serial as `openssl x509 -text` does: lower-case octets, joined with colons."""
    return serial_to_bytes(serial).hex(":")
