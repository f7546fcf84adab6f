"""Key-encryption keys: AES-256 in the token, used by C_Encrypt and C_Decrypt with AES-GCM.

The token sees a data-encryption key and its associated data, and leaves no object behind. A wrapped key is
IV (12 octets) || ciphertext || tag (16 octets), as NIST SP 800-38D has it; IVs are random, so one KEK is good for
2**32 wraps (8.3 there).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pkcs11 import Attribute, GCMParams, KeyType, Mechanism
from pkcs11 import exceptions as p11

from clm.errors import HsmError, KeyMismatch, WrapRejected
from clm.hsm import templates
from clm.hsm.faults import is_lost
from clm.hsm.keys import make_room, no_boundary
from clm.hsm.token import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from clm.hsm.session import Key, SessionContext
    from clm.hsm.token import Token

IV_OCTETS = 12
TAG_OCTETS = 16
_BUFFER_OCTETS = 256
_CHECK_TEXT = b"CLM key check value"
# What modules answer to a tag that does not match; the last two they also answer when the token is lost.
_REJECTIONS = (
    p11.EncryptedDataInvalid,
    p11.EncryptedDataLenRange,
    p11.DataInvalid,
    p11.GeneralError,
    p11.FunctionFailed,
)


async def generate_kek(
    token: Token,
    *,
    key_id: UUID,
    label: str,
    boundary: Callable[[str], None] = no_boundary,
    deadline_s: float = DEADLINE_S,
) -> bytes:
    """Generate a KEK in the token, read it back and give its check value.

    The check value is a wrapped constant: it decrypts under this key only. `boundary` is called between generation
    and read-back. Raises KeyMismatch when an object of that id stands, HsmError, Unsupported, HsmUnavailable.
    """
    started = False

    def operation(context: SessionContext) -> bytes:
        nonlocal started
        make_room(context, key_id, ours=started)
        started = True
        context.session.generate_key(
            KeyType.AES,
            256,
            store=True,
            mechanism=Mechanism.AES_KEY_GEN,
            template=templates.key_encryption_key(key_id, label),
        )
        boundary("hsm.key-generated")
        key = context.secret_key(key_id)
        templates.read_proof(key)
        _refuse_wrapping(key)
        return encrypt_blocking(key, _CHECK_TEXT, aad=_check_aad(key_id))

    check_value = await token.run_long(operation, deadline_s=deadline_s)
    token.remember(key_id, check_value)
    return check_value


async def verify_kek(token: Token, key_id: UUID, check_value: bytes, *, deadline_s: float = DEADLINE_S) -> None:
    """Prove that the token holds the very key that gave this check value, and know it by that from now on.

    Raises KeyMissing when it has none of that id, KeyMismatch when it has another one, HsmError when the key could
    leave the token, HsmUnavailable.
    """
    token.remember(key_id, check_value)

    def operation(context: SessionContext) -> None:
        key = _recorded_kek(context, key_id)
        templates.read_proof(key)
        _refuse_wrapping(key)
        try:
            text = decrypt_blocking(context, key, check_value, aad=_check_aad(key_id))
        except WrapRejected:
            text = b""
        if text != _CHECK_TEXT:
            raise KeyMismatch(f"key {key_id} in the token is not the recorded one: its check value does not decrypt")

    await token.run(operation, deadline_s=deadline_s)


async def wrap(token: Token, key_id: UUID, plaintext: bytes, *, aad: bytes, deadline_s: float = DEADLINE_S) -> bytes:
    """Encrypt a small secret under a KEK, bound to `aad`. Raises KeyMissing, HsmError, HsmUnavailable."""
    return (await wrap_many(token, key_id, [(plaintext, aad)], deadline_s=deadline_s))[0]


async def unwrap(token: Token, key_id: UUID, blob: bytes, *, aad: bytes, deadline_s: float = DEADLINE_S) -> bytes:
    """Decrypt what `wrap` gave. Raises WrapRejected, KeyMissing, HsmError, HsmUnavailable."""
    return (await unwrap_many(token, key_id, [(blob, aad)], deadline_s=deadline_s))[0]


async def wrap_many(
    token: Token, key_id: UUID, items: Sequence[tuple[bytes, bytes]], *, deadline_s: float = DEADLINE_S
) -> list[bytes]:
    """Encrypt many (plaintext, aad) in one visit to the token; see `wrap`."""
    return await token.run(lambda context: wrap_blocking(context, key_id, items), deadline_s=deadline_s)


async def unwrap_many(
    token: Token, key_id: UUID, items: Sequence[tuple[bytes, bytes]], *, deadline_s: float = DEADLINE_S
) -> list[bytes]:
    """Decrypt many (blob, aad) in one visit to the token. WrapRejected when one does not open, naming its place."""
    return await token.run(lambda context: unwrap_blocking(context, key_id, items), deadline_s=deadline_s)


def wrap_blocking(context: SessionContext, key_id: UUID, items: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Encrypt within an operation; see `wrap_many`."""
    key = _recorded_kek(context, key_id)
    return [encrypt_blocking(key, plaintext, aad=aad) for plaintext, aad in items]


def unwrap_blocking(context: SessionContext, key_id: UUID, items: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Decrypt within an operation; see `unwrap_many`."""
    key = _recorded_kek(context, key_id)
    opened = []
    for place, (blob, aad) in enumerate(items):
        try:
            opened.append(decrypt_blocking(context, key, blob, aad=aad))
        except WrapRejected as error:
            raise WrapRejected(f"wrapped key {place + 1} of {len(items)}: {error}") from None
    return opened


def encrypt_blocking(key: Key, plaintext: bytes, *, aad: bytes) -> bytes:
    """AES-GCM by the token."""
    iv = os.urandom(IV_OCTETS)
    sealed: bytes = key.encrypt(
        plaintext,
        mechanism=Mechanism.AES_GCM,
        mechanism_param=GCMParams(iv, aad, 8 * TAG_OCTETS),
        buffer_size=_BUFFER_OCTETS,
    )
    # The IV is read after the call: a module that insists on its own writes it over ours.
    return iv + sealed


def decrypt_blocking(context: SessionContext, key: Key, blob: bytes, *, aad: bytes) -> bytes:
    """AES-GCM by the token. Raises WrapRejected when the blob does not open under this key and `aad`."""
    if len(blob) < IV_OCTETS + TAG_OCTETS:
        raise WrapRejected("it is too short to be a wrapped key")
    try:
        return _decrypt(key, blob, aad)
    except _REJECTIONS:
        # Some modules answer a wrong tag as they answer the loss of the token. So ask again for what must open.
        context.check_alive()
        probe = encrypt_blocking(key, _CHECK_TEXT, aad=aad)
        if _decrypt(key, probe, aad) != _CHECK_TEXT:
            raise HsmError("the token decrypts to something else than it encrypted") from None
    raise WrapRejected("it does not open: changed, moved to another row, or wrapped under another key")


def _decrypt(key: Key, blob: bytes, aad: bytes) -> bytes:
    parameters = GCMParams(blob[:IV_OCTETS], aad, 8 * TAG_OCTETS)
    opened: bytes = key.decrypt(
        blob[IV_OCTETS:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters, buffer_size=_BUFFER_OCTETS
    )
    return opened


def _recorded_kek(context: SessionContext, key_id: UUID) -> Key:
    """Secret key of this id; of several the one under which the recorded check value decrypts."""

    def is_recorded(key: Key) -> bool:
        check_value = context.check_value(key_id)
        if check_value is None:
            return False
        try:
            return decrypt_blocking(context, key, check_value, aad=_check_aad(key_id)) == _CHECK_TEXT
        except (WrapRejected, AttributeError):
            return False  # python-pkcs11 gives an object that may not decrypt no method for it
        except p11.PKCS11Error as error:
            if is_lost(error):
                raise
            return False

    return context.secret_key(key_id, is_recorded=is_recorded)


def _check_aad(key_id: UUID) -> bytes:
    return b"CLM check value\0" + key_id.bytes


def _refuse_wrapping(key: Key) -> None:
    """Raise HsmError for a KEK that also wraps objects: with DECRYPT it lets any key of the token out."""
    if key[Attribute.WRAP] or key[Attribute.UNWRAP]:
        raise HsmError("the key-encryption key can wrap objects of the token; it must only encrypt and decrypt")
