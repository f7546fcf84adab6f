"""Serials are positive, never longer than 20 octets, and as random as they come (RFC 5280 4.1.2.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.pki.serial import new_serial, serial_candidates, serial_from_bytes, serial_hex, serial_to_bytes


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


@given(st.integers(min_value=1, max_value=2**159 - 1))
def test_a_person_may_write_it_in_several_ways(serial: int) -> None:
    """As openssl, browsers and this program write it, and in decimal."""
    octets, hexadecimal = serial_to_bytes(serial), f"{serial:X}"
    forms = (hexadecimal, hexadecimal.lower(), f"0x{hexadecimal}", f"serial={hexadecimal}", serial_hex(serial))
    for text in (*forms, serial_hex(serial).upper().replace(":", " "), str(serial)):
        assert octets in serial_candidates(text)


def test_only_digits_alone_may_be_decimal() -> None:
    """What is marked as hexadecimal is nothing else."""
    assert len(serial_candidates("1234567890")) == 2
    assert len(serial_candidates("0x1234567890")) == 1
    assert len(serial_candidates("12:34:56:78:90")) == 1


@pytest.mark.parametrize("text", ["", " ", "web", "0x", "-5", "0", "00:00", "a" + "0" * 39, "ff" * 20, "1" * 60])
def test_what_is_no_serial_is_refused(text: str) -> None:
    """Empty, no number, not positive, or longer than RFC 5280 allows."""
    with pytest.raises(InvalidInput, match="serial number"):
        serial_candidates(text)
