"""The PIN file: read each time, and never offered twice after a rejection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clm.errors import HsmUnavailable, PinRejected
from clm.hsm.pin import PinFile

if TYPE_CHECKING:
    from pathlib import Path


def test_rejected_pin_is_not_given_out_again(tmp_path: Path) -> None:
    """Only a change of the content ends the refusal; changing it back starts it again."""
    path = tmp_path / "pin"
    path.write_text("1234\n")
    pin_file = PinFile(path)
    assert pin_file.read() == "1234"
    pin_file.reject("1234")
    with pytest.raises(PinRejected) as caught:
        pin_file.read()
    assert "1234" not in str(caught.value)
    path.write_text("5678")
    assert pin_file.read() == "5678"
    path.write_text("1234")
    with pytest.raises(PinRejected):
        pin_file.read()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_unreadable_file_is_an_outage(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or not text: it may still be mounted."""
    path = tmp_path / "pin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HsmUnavailable):
        PinFile(path).read()


def test_pin_may_have_blanks(tmp_path: Path) -> None:
    """Only line ends are cut off."""
    path = tmp_path / "pin"
    path.write_bytes(b" a b \r\n")
    assert PinFile(path).read() == " a b "


def test_pin_is_not_in_the_repr(tmp_path: Path) -> None:
    """Neither the PIN nor its hash shows."""
    path = tmp_path / "pin"
    path.write_text("1234")
    pin_file = PinFile(path)
    pin_file.reject("1234")
    assert "1234" not in repr(pin_file)
