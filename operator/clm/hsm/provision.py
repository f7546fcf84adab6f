"""Make a token ready without any command-line tool: configuration, PINs, C_InitToken, user PIN.

For `clm dev` and tests, and for a software token in a pod. Safe to repeat after any interruption. A hardware token
is initialized by its own tools and its own people.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from clm.errors import HsmError, HsmUnavailable, TokenMismatch
from clm.hsm import cryptoki
from clm.hsm.connection import readable_tokens, serial_of
from clm.hsm.faults import describe
from clm.hsm.library import open_library

if TYPE_CHECKING:
    from pathlib import Path

    import pkcs11

    from clm.hsm.library import Library

_PIN_OCTETS = 24
_RESET_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A token that is ready for use. The files hold the PINs, mode 0600."""

    module_path: str
    label: str
    serial: str
    pin_file: Path
    so_pin_file: Path


def write_softhsm_config(directory: Path) -> Path:
    """Write softhsm2.conf for a token store in `directory`, both private; returns the file for SOFTHSM2_CONF.

    The module reads that variable from the environment of the process when it is initialized.
    """
    tokens = directory / "tokens"
    for folder in (directory, tokens):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "softhsm2.conf"
    lines = (
        f"directories.tokendir = {tokens}",
        "objectstore.backend = file",
        "objectstore.umask = 0077",
        "log.level = ERROR",
        "library.reset_on_fork = true",
    )
    _write_private(config, "\n".join(lines) + "\n", replace=True)
    return config


def provision(*, module_path: str, label: str, directory: Path) -> Provisioned:
    """Initialize a token with this label unless one stands, with PINs kept in `directory`.

    Blocking. SOFTHSM2_CONF must be set before, if the module wants it. Raises HsmUnavailable (the module cannot be
    loaded), TokenMismatch (several tokens of that label), HsmError (no free slot, or the token refuses).
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The PINs are on disk before the token has them: an interruption in between loses no token.
    so_pin_file, pin_file = directory / "so-pin", directory / "pin"
    so_pin = _write_private(so_pin_file, secrets.token_hex(_PIN_OCTETS // 2), replace=False)
    pin = _write_private(pin_file, secrets.token_hex(_PIN_OCTETS // 2), replace=False)
    library = open_library(module_path)
    former = os.umask(0o077)
    try:
        serial = _provision(library, label, so_pin, pin)
    except PKCS11Error as error:
        raise HsmError(f"token {label!r} cannot be initialized: {describe(error)}") from None
    finally:
        os.umask(former)
    return Provisioned(module_path, label, serial, pin_file, so_pin_file)


def _provision(library: Library, label: str, so_pin: str, pin: str) -> str:
    token = _labelled(library, label)
    if token is None:
        _init_token(library, label, so_pin)
        token = _labelled(library, label)
        if token is None:
            raise HsmError(f"token {label!r} was initialized and is not there")
    if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
        _init_user_pin(library, token, so_pin, pin)
    return serial_of(token)


def _labelled(library: Library, label: str) -> pkcs11.Token | None:
    with library.call(library.generation):
        found = [token for token in readable_tokens(library) if token.label == label]
    if len(found) > 1:
        raise TokenMismatch(f"several tokens are labelled {label!r}: {', '.join(map(serial_of, found))}")
    return found[0] if found else None


def _init_token(library: Library, label: str, so_pin: str) -> None:
    generation = library.generation
    with library.call(generation):
        free = [token for token in readable_tokens(library) if not token.flags & TokenFlag.TOKEN_INITIALIZED]
        if not free:
            raise HsmError("no slot has a token that is not initialized yet")
        result = library.cryptoki.init_token(free[0].slot.slot_id, so_pin, label)
    if result != cryptoki.CKR_OK:
        raise HsmError(f"C_InitToken answers {result:#x}")
    # The token moves to another slot, which is seen only after this.
    library.reset(generation, deadline=time.monotonic() + _RESET_DEADLINE_S)


def _init_user_pin(library: Library, token: pkcs11.Token, so_pin: str, pin: str) -> None:
    with library.call(library.generation), token.open(rw=True, so_pin=so_pin) as session:
        session.init_pin(pin)


def _write_private(path: Path, text: str, *, replace: bool) -> str:
    """Write a file that only its owner may read, whole or not at all; returns what it holds afterwards."""
    if path.exists() and not replace:
        return path.read_text(encoding="utf-8").strip()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HsmUnavailable(f"{path} cannot be written: {type(error).__name__}") from None
    return text.strip()
