"""Associated data tell every two rows apart, and a payload opens with its own only."""

from __future__ import annotations

import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import WrapRejected
from clm.hsm.envelope import PlainKey, aad_for_dek, aad_for_payload, open_payload, seal_payload

ids = st.uuids()
places = st.tuples(st.text(max_size=12), ids, ids, ids)


@given(places, places)
def test_associated_data_are_unambiguous(
    one: tuple[str, uuid.UUID, uuid.UUID, uuid.UUID], other: tuple[str, uuid.UUID, uuid.UUID, uuid.UUID]
) -> None:
    """Two lists of fields give the same octets only if they are the same; a DEK's are never a payload's."""

    def dek(place: tuple[str, uuid.UUID, uuid.UUID, uuid.UUID]) -> bytes:
        return aad_for_dek(purpose=place[0], row_id=place[1], organization_id=place[2], kek_id=place[3])

    def payload(place: tuple[str, uuid.UUID, uuid.UUID, uuid.UUID]) -> bytes:
        return aad_for_payload(purpose=place[0], row_id=place[1], organization_id=place[2])

    assert (dek(one) == dek(other)) is (one == other)
    assert (payload(one) == payload(other)) is (one[:3] == other[:3])
    assert dek(one) != payload(other)


def test_associated_data_are_stable() -> None:
    """The octets are stored values' other half: they may never change under version 1."""
    row, organization, kek = (uuid.UUID(int=number) for number in (1, 2, 3))
    assert aad_for_payload(purpose="private-key", row_id=row, organization_id=organization).hex() == (
        "01" + "0007" + b"payload".hex() + "000b" + b"private-key".hex() + "0010" + row.hex + "0010" + organization.hex
    )
    assert aad_for_dek(purpose="private-key", row_id=row, organization_id=organization, kek_id=kek).hex() == (
        "01"
        "0003"
        + b"dek".hex()
        + "000b"
        + b"private-key".hex()
        + "0010"
        + row.hex
        + "0010"
        + organization.hex
        + "0010"
        + kek.hex
    )


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_payload_round_trip(plaintext: bytes, aad: bytes) -> None:
    """What was sealed opens, and nothing of it shows the same twice."""
    dek = bytes(32)
    sealed = seal_payload(dek, plaintext, aad)
    assert open_payload(dek, sealed, aad) == plaintext
    assert sealed != seal_payload(dek, plaintext, aad)


@given(st.binary(min_size=1, max_size=60), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_changed_payload_does_not_open(plaintext: bytes, place: int, change: int) -> None:
    """Any octet changed, anywhere, and the payload is rejected."""
    dek, sealed = os.urandom(32), b""
    sealed = seal_payload(dek, plaintext, b"row")
    place %= len(sealed)
    changed = sealed[:place] + bytes([sealed[place] ^ change]) + sealed[place + 1 :]
    with pytest.raises(WrapRejected):
        open_payload(dek, changed, b"row")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(11), bytes(27)])
def test_cut_payload_does_not_open(sealed: bytes) -> None:
    """A payload that is too short is rejected like a changed one."""
    with pytest.raises(WrapRejected):
        open_payload(bytes(32), sealed, b"row")


def test_plain_key_does_not_show_itself() -> None:
    """The private key is not in the repr of what carries it."""
    plain = PlainKey(row_id=uuid.UUID(int=1), organization_id=uuid.UUID(int=2), pkcs8=b"secret octets")
    assert "secret" not in repr(plain)
