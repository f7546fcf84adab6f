"""A token is made without a command-line tool, once, and after any interruption."""

from __future__ import annotations

import stat
import uuid
from typing import TYPE_CHECKING

import pytest

from clm.errors import HsmUnavailable
from clm.hsm import provision as provisioning
from clm.hsm.library import open_library

if TYPE_CHECKING:
    from pathlib import Path

    from clm.hsm.token import Token
    from tests.fix_token import SoftHsm


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_provision_twice(softhsm: SoftHsm) -> None:
    """The second run changes nothing: same token, same PINs."""
    label = f"twice-{uuid.uuid4().hex[:8]}"
    first = softhsm.provision(label)
    pins = first.pin_file.read_bytes(), first.so_pin_file.read_bytes()
    second = softhsm.provision(label)
    assert (second.serial, second.pin_file) == (first.serial, first.pin_file)
    assert (second.pin_file.read_bytes(), second.so_pin_file.read_bytes()) == pins


def test_nobody_else_may_read(softhsm: SoftHsm) -> None:
    """PINs and token objects are the owner's alone."""
    made = softhsm.provision(f"private-{uuid.uuid4().hex[:8]}")
    assert mode(made.pin_file) == mode(made.so_pin_file) == 0o600
    assert mode(softhsm.directory / "tokens") == 0o700
    for path in made.directory.iterdir():
        assert mode(path) & 0o077 == 0, path


def test_interrupted_before_the_user_pin(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between C_InitToken and C_InitPIN: the next run finishes the same token, which then works."""
    label = f"cut-{uuid.uuid4().hex[:8]}"

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(provisioning, "_init_user_pin", die)
        with pytest.raises(KeyboardInterrupt):
            softhsm.provision(label)
    library = open_library(softhsm.module_path)
    begun = provisioning._labelled(library, label)
    assert begun is not None
    made = softhsm.provision(label)
    assert made.serial == begun.serial.decode()

    async def serial(token: Token) -> str:
        return token.serial

    assert made.do(serial) == made.serial


def test_module_that_is_none(tmp_path: Path) -> None:
    """A file that is no PKCS#11 module is told as such."""
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"not a library")
    with pytest.raises(HsmUnavailable, match=r"wrong\.so"):
        provisioning.provision(module_path=str(wrong), label="x", directory=tmp_path / "x")
