"""Signing keys in the token: made there, read back, found again.

A key's CKA_ID is the id of its database row, so an interrupted generation can be recognised and cleaned up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from pkcs11 import Attribute, ObjectClass

from clm.errors import HsmError, KeyMismatch
from clm.hsm import templates
from clm.hsm.faults import LostError
from clm.hsm.pair import check_pair, generate_pair, half_of
from clm.hsm.public_key import read_public_key
from clm.hsm.token import DEADLINE_S
from clm.pki.keys import key_spec_of, load_spki

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.hsm.session import Key, SessionContext
    from clm.hsm.token import Token
    from clm.resources.keys import KeySpec

_ID_OCTETS = 16


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair in the token. `spki` is its SubjectPublicKeyInfo in DER; `attributes` were read back."""

    key_id: UUID
    spec: KeySpec
    spki: bytes
    label: str
    attributes: dict[str, bool] = field(hash=False)


@dataclass(frozen=True, slots=True)
class KeyObject:
    """One key object. `key_id` is None when CKA_ID is not one of CLM's (16 octets)."""

    key_id: UUID | None
    raw_id: bytes
    label: str
    object_class: str


def no_boundary(_name: str) -> None:
    """Pass a boundary where nothing is tested."""


async def generate_signing_key(
    token: Token,
    *,
    key_id: UUID,
    label: str,
    spec: KeySpec,
    boundary: Callable[[str], None] = no_boundary,
    deadline_s: float = 2 * DEADLINE_S,
) -> SigningKey:
    """Generate a key pair in the token and read it back.

    `boundary` is called, in a worker thread, between the two. Raises KeyMismatch when the token has an object of
    that id already, HsmError when the key could leave the token, Unsupported, HsmUnavailable.
    """
    started = False

    def operation(context: SessionContext) -> SigningKey:
        nonlocal started
        make_room(context, key_id, ours=started)
        started = True
        _, private = generate_pair(
            context.session,
            spec,
            public_template=templates.public_signing_key(key_id, label),
            private_template=templates.private_signing_key(key_id, label),
        )
        boundary("hsm.key-generated")
        made = find_blocking(context, key_id)
        if made is None:
            raise LostError(f"key {key_id} was generated and is not there")
        if made.spec != spec:
            raise KeyMismatch(f"asked for {spec}, the token made {made.spec}")
        check_pair(private, spec, made.spki)
        return made

    return await token.run_long(operation, deadline_s=deadline_s)


async def find_signing_key(
    token: Token, key_id: UUID, *, spki: bytes | None = None, deadline_s: float = DEADLINE_S
) -> SigningKey | None:
    """Find a key pair by its id; None when there is none, or only one half of it (an interrupted generation).

    `spki` is the recorded public key: of several pairs under the id that one is found.

    For a key that a database row calls active, None means that the token is not the right one or not restored,
    never "make a new one". Raises KeyMismatch when there are several and none is the recorded one, HsmError when the
    key could leave the token, HsmUnavailable.
    """

    def operation(context: SessionContext) -> SigningKey | None:
        found = find_blocking(context, key_id, spki=spki)
        if found is None:
            context.doubt(key_id)
        return found

    return await token.run(operation, deadline_s=deadline_s)


async def remove_unfinished(
    token: Token, key_id: UUID, *, for_good: bool = False, deadline_s: float = DEADLINE_S
) -> int:
    """Destroy every object of that id; returns how many. `for_good`: believe only after a doubt that there is none.

    Only for a key whose row is in state `generating`, while its row is locked: nothing was ever signed or wrapped
    with it. For any other row this destroys a key that nobody can make again.
    """

    def operation(context: SessionContext) -> int:
        removed = make_room(context, key_id, ours=True)
        if for_good and not removed:
            context.doubt(key_id)
        return removed

    return await token.run(operation, deadline_s=deadline_s)


async def destroy_key(token: Token, key_id: UUID, *, label: str, deadline_s: float = DEADLINE_S) -> int:
    """Destroy the objects of that id and label for good; returns how many. A crash may have left none of them.

    Only for a key whose row is deactivated or compromised and held, and on which nothing depends. A stranger under the
    same id stays. Raises HsmError, HsmUnavailable.
    """

    def operation(context: SessionContext) -> int:
        standing = context.find({Attribute.ID: key_id.bytes, Attribute.LABEL: label, Attribute.TOKEN: True})
        if not standing:
            context.doubt(key_id)
        for key in standing:
            key.destroy()
        return len(standing)

    return await token.run(operation, deadline_s=deadline_s)


async def list_keys(token: Token, *, deadline_s: float = DEADLINE_S) -> list[KeyObject]:
    """All key objects of the token, for the search for keys that no row knows."""

    def operation(context: SessionContext) -> list[KeyObject]:
        classes = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY, ObjectClass.SECRET_KEY)
        return [
            _key_object(key, kind)
            for kind in classes
            for key in context.find({Attribute.CLASS: kind, Attribute.TOKEN: True})
        ]

    return await token.run(operation, deadline_s=deadline_s)


def find_blocking(context: SessionContext, key_id: UUID, *, spki: bytes | None = None) -> SigningKey | None:
    """Find a key pair within an operation; see `find_signing_key`."""
    private = _find_half(context, key_id, ObjectClass.PRIVATE_KEY, _private_half(spki))
    public = _find_half(context, key_id, ObjectClass.PUBLIC_KEY, _public_half(spki))
    if private is None or public is None:
        return None
    spec, spki = read_public_key(public)
    return SigningKey(
        key_id=key_id,
        spec=spec,
        spki=spki,
        label=str(private[Attribute.LABEL]),
        attributes=templates.read_proof(private),
    )


def make_room(context: SessionContext, key_id: UUID, *, ours: bool) -> int:
    """Destroy what an interrupted generation left under this id, if it is `ours`.

    Returns how many objects it destroyed. Raises KeyMismatch for an object that is not ours.
    """
    standing = context.find({Attribute.ID: key_id.bytes, Attribute.TOKEN: True})
    if standing and not ours:
        raise KeyMismatch(f"the token already has {len(standing)} objects of id {key_id}")
    for key in standing:
        key.destroy()
    return len(standing)


def _find_half(
    context: SessionContext, key_id: UUID, object_class: ObjectClass, is_recorded: Callable[[Key], bool] | None
) -> Key | None:
    found = context.find({Attribute.CLASS: object_class, Attribute.ID: key_id.bytes, Attribute.TOKEN: True})
    if len(found) > 1:
        return context.choose(found, key_id, is_recorded)
    return found[0] if found else None


def _private_half(spki: bytes | None) -> Callable[[Key], bool] | None:
    if spki is None:
        return None
    public_key = load_spki(spki)
    return half_of(public_key, key_spec_of(public_key))


def _public_half(spki: bytes | None) -> Callable[[Key], bool] | None:
    if spki is None:
        return None

    def is_recorded(public: Key) -> bool:
        try:
            return read_public_key(public)[1] == spki
        except HsmError:
            return False  # a kind of key that CLM does not use

    return is_recorded


def _key_object(key: Key, object_class: ObjectClass) -> KeyObject:
    raw = bytes(key[Attribute.ID])
    return KeyObject(
        key_id=UUID(bytes=raw) if len(raw) == _ID_OCTETS else None,
        raw_id=raw,
        label=str(key[Attribute.LABEL]),
        object_class=object_class.name,
    )
