"""Find the one right token behind a module and log in to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from clm.errors import HsmError, HsmUnavailable, PinRejected, TokenMismatch
from clm.hsm import cryptoki
from clm.hsm.faults import LostError, describe

if TYPE_CHECKING:
    import pkcs11

    from clm.hsm.library import Library
    from clm.hsm.pin import PinFile

_REFUSALS = {
    cryptoki.CKR_PIN_INCORRECT: "is wrong",
    cryptoki.CKR_PIN_INVALID: "has characters that the token does not take",
    cryptoki.CKR_PIN_LEN_RANGE: "is too short or too long",
    cryptoki.CKR_PIN_EXPIRED: "has expired",
    cryptoki.CKR_PIN_LOCKED: "is locked",
    cryptoki.CKR_USER_PIN_NOT_INITIALIZED: "was never set",
}

_NOT_THE_PIN = (cryptoki.CKR_PIN_LOCKED, cryptoki.CKR_USER_PIN_NOT_INITIALIZED)
"""Refusals that burn no try and that an administrator mends without a new PIN."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A login, which lasts as long as `login_session` is open."""

    generation: int
    token: pkcs11.Token
    login_session: pkcs11.Session
    serial: str
    worker_sessions: list[pkcs11.Session] = field(default_factory=list)

    def open_session(self) -> pkcs11.Session:
        """Open a session for a worker, without a PIN: the login holds for it. Read-write, which every token takes."""
        session = self.token.open(rw=True)
        self.worker_sessions.append(session)
        return session

    def close(self) -> None:
        """Close all sessions. The token logs out when a process closes its last one (PKCS#11 2.40 base 5.6)."""
        for session in (*self.worker_sessions, self.login_session):
            session.close()


def connect(library: Library, *, label: str, serial: str | None, pin_file: PinFile) -> Connection:
    """Find the token and log in.

    Raises HsmUnavailable (no such token), TokenMismatch (another serial number), PinRejected, HsmError, and
    PKCS11Error for whatever else the module answers.
    """
    generation = library.generation
    with library.call(generation):
        token = find_token(library, label=label, serial=serial)
        session = log_in(library, token, pin_file)
    return Connection(generation, token, session, serial_of(token))


def find_token(library: Library, *, label: str, serial: str | None) -> pkcs11.Token:
    """Find the token by label and serial number; a broken slot beside it does not matter."""
    labelled = [token for token in readable_tokens(library) if token.label == label]
    matching = [token for token in labelled if serial is None or serial_of(token) == serial]
    if len(matching) == 1:
        return matching[0]
    if not labelled:
        raise HsmUnavailable(f"no token is labelled {label!r}")
    found = ", ".join(sorted(serial_of(token) for token in labelled))
    if matching:
        raise TokenMismatch(f"several tokens are labelled {label!r} ({found}); choose one by its serial number")
    raise TokenMismatch(f"token {label!r} has serial number {found}, not {serial}")


def readable_tokens(library: Library) -> list[pkcs11.Token]:
    """Tokens of all slots that answer. The library's own `get_token` fails if any slot is broken."""
    tokens = []
    for slot in library.get_slots():
        try:
            tokens.append(slot.get_token())
        except PKCS11Error:
            continue
    return tokens


def serial_of(token: pkcs11.Token) -> str:
    """Give the serial number of a token, without the padding (PKCS#11 2.40 base 3.2)."""
    return token.serial.decode("ascii", "replace").strip("\0 ")


def log_in(library: Library, token: pkcs11.Token, pin_file: PinFile) -> pkcs11.Session:
    """Open the session that holds the login.

    It is opened without a PIN: closing one that was opened with a PIN logs out every session of the process.
    """
    pin = pin_file.read()
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise PinRejected(f"the PIN of token {token.label!r} is locked")
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise PinRejected(f"token {token.label!r} would lock at the next wrong PIN; log in once by hand to clear that")
    session = token.open(rw=True)
    result = library.cryptoki.login(int(session.handle), cryptoki.CKU_USER, pin)  # type: ignore[attr-defined]
    if result in (cryptoki.CKR_OK, cryptoki.CKR_USER_ALREADY_LOGGED_IN):
        return session
    session.close()
    if result in _REFUSALS:
        if result not in _NOT_THE_PIN:
            pin_file.reject(pin)
        raise PinRejected(f"the PIN for token {token.label!r} {_REFUSALS[result]}")
    raise HsmError(f"C_Login answers {result:#x}")


def check_alive(library: Library, connection: Connection, session: pkcs11.Session) -> None:
    """Prove that the token is there and the session logged in. Raises LostError.

    A search that finds nothing says nothing: it is also the answer of a token that is gone or logged out.
    """
    try:
        serial = serial_of(connection.token.slot.get_token())
    except PKCS11Error as error:
        raise LostError(describe(error)) from None
    if serial != connection.serial:
        raise LostError("another token answers in the slot")
    result, state = library.cryptoki.session_state(int(session.handle))  # type: ignore[attr-defined]
    if result != cryptoki.CKR_OK or state != cryptoki.CKS_RW_USER_FUNCTIONS:
        raise LostError("the session is no longer logged in")
