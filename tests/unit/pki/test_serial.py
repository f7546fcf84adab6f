"""Serials are positive, never longer than 20 octets, and as random as they come (RFC 5280 4.1.2.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.pki.serial import new_serial, serial_from_bytes, serial_hex, serial_to_bytes


@given(st.binary(min_size=16, max_size=16))
def test_a_serial_fits(octets: bytes) -> None:
    """Always 16 octets in DER, and all but two bits are random."""
    serial = new_serial(lambda count: octets[:count])
    assert 2**126 <= serial < 2**127
    assert serial & (2**126 - 1) == int.from_bytes(octets, "big") & (2**126 - 1)


def test_too_little_randomness_is_refused() -> None:
    """A source that runs dry must not make short serials."""
    with pytest.raises(ValueError, match="8 came"):
        new_serial(lambda _: b"\x00" * 8)


@given(st.integers(min_value=0, max_value=2**159))
def test_bytes_come_back(serial: int) -> None:
    """What the databases hold is the number."""
    octets = serial_to_bytes(serial)
    assert serial_from_bytes(octets) == serial
    assert len(octets) >= 8
    assert bytes.fromhex(serial_hex(serial).replace(":", "")) == octets
