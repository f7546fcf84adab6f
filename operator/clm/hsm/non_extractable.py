"""Try in earnest to take a key out of the token, by every way that PKCS#11 offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from clm.errors import KeyMissing
from clm.hsm.probe import refusal_of
from clm.hsm.token import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from clm.hsm.session import Key, SessionContext
    from clm.hsm.token import Token

_SECRETS = ("VALUE", "PRIVATE_EXPONENT", "PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT")
_CHANGES: tuple[tuple[str, bool], ...] = (
    ("EXTRACTABLE", True),
    ("SENSITIVE", False),
    ("UNWRAP", True),
    ("WRAP", True),
    ("MODIFIABLE", True),
)
_WRAPPINGS = (Mechanism.AES_KEY_WRAP_PAD, Mechanism.AES_KEY_WRAP, Mechanism.AES_CBC_PAD)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to take the key, and how it ended. `refused` is False when key material or control was gained."""

    attempt: str
    refused: bool
    how: str


async def verify_non_extractable(token: Token, key_id: UUID, *, deadline_s: float = DEADLINE_S) -> list[Attempt]:
    """Try every way to take this private or secret key out, and tell how each was refused.

    A key that refuses is unchanged afterwards. One that gives way has shown that it can be taken, and may have
    been made extractable by this: destroy it. Raises KeyMissing, HsmUnavailable.
    """

    def operation(context: SessionContext) -> list[Attempt]:
        key = _any_key(context, key_id)
        attempts = [_try(context, f"read {name}", _read(key, name)) for name in _SECRETS]
        attempts += [_try(context, f"set {name}={value}", _change(key, name, value)) for name, value in _CHANGES]
        attempts += [
            _try(context, f"copy with {name}={value}", _copy(key, name, value)) for name, value in _CHANGES[:2]
        ]
        attempts.append(_try(context, "set EXTRACTABLE=True read-only", _change_read_only(context, key, key_id)))
        attempts += [_try(context, f"wrap by {way.name}", _wrap(context, key, way)) for way in _WRAPPINGS]
        return attempts

    return await token.run(operation, deadline_s=deadline_s)


def _any_key(context: SessionContext, key_id: UUID) -> Key:
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
        found = context.find({Attribute.CLASS: object_class, Attribute.ID: key_id.bytes, Attribute.TOKEN: True})
        if found:
            return found[0]
    context.doubt(key_id)
    raise KeyMissing(f"the token has no key {key_id}")


def _try(context: SessionContext, attempt: str, act: Callable[[], str | None]) -> Attempt:
    try:
        gained = act()
    except PKCS11Error as error:
        return Attempt(attempt, refused=True, how=refusal_of(context, error))
    if gained is None:
        return Attempt(attempt, refused=True, how="no effect")
    return Attempt(attempt, refused=False, how=gained)


def _read(key: Key, name: str) -> Callable[[], str | None]:
    def act() -> str | None:
        octets = len(key[Attribute[name]])
        return f"{octets} octets read" if octets else None

    return act


def _change(key: Key, name: str, value: bool) -> Callable[[], str | None]:  # noqa: FBT001
    def act() -> str | None:
        key[Attribute[name]] = value
        return f"{name} is {value}" if bool(key[Attribute[name]]) is value else None

    return act


def _copy(key: Key, name: str, value: bool) -> Callable[[], str | None]:  # noqa: FBT001
    def act() -> str | None:
        copied = key.copy({Attribute.TOKEN: False, Attribute[name]: value})
        changed = bool(copied[Attribute[name]]) is value
        copied.destroy()
        return f"a copy has {name}={value}" if changed else None

    return act


def _change_read_only(context: SessionContext, key: Key, key_id: UUID) -> Callable[[], str | None]:
    def act() -> str | None:
        with context.connection.token.open(rw=False) as session:
            found = session.get_objects({Attribute.CLASS: key[Attribute.CLASS], Attribute.ID: key_id.bytes})
            return _change(list(found)[0], "EXTRACTABLE", True)()  # noqa: RUF015 - the search is ended before the change

    return act


def _wrap(context: SessionContext, key: Key, mechanism: Mechanism) -> Callable[[], str | None]:
    def act() -> str | None:
        session: Any = context.session
        wrapping = session.generate_key(
            KeyType.AES, 256, store=False, capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP
        )
        iv = bytes(16) if mechanism is Mechanism.AES_CBC_PAD else None
        try:
            octets = len(wrapping.wrap_key(key, mechanism=mechanism, mechanism_param=iv))
        finally:
            wrapping.destroy()
        return f"{octets} octets wrapped" if octets else None

    return act
