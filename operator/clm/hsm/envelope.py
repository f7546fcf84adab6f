"""Envelope encryption of private keys: the key under a data-encryption key, that one under a KEK in the token.

The associated data bind both layers to their row, so a value that is moved to another row does not open. The
payload's do not name the KEK: rotating a KEK wraps the data-encryption keys again and touches no payload.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clm.errors import WrapRejected
from clm.hsm import kek
from clm.hsm.token import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token

PRIVATE_KEY = "private-key"
"""Purpose of the envelopes around private keys."""

_VERSION = b"\x01"
_DEK_OCTETS = 32
_NONCE_OCTETS = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored: both values are useless without the KEK."""

    wrapped_dek: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainKey:
    """A private key (PKCS #8, DER) on its way into the row `row_id`."""

    row_id: UUID
    organization_id: UUID
    pkcs8: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """A sealed private key with the row that it was read from."""

    row_id: UUID
    organization_id: UUID
    sealed: Sealed


def aad_for_dek(*, purpose: str, row_id: UUID, organization_id: UUID, kek_id: UUID) -> bytes:
    """Associated data of a wrapped data-encryption key."""
    return _aad(b"dek", purpose.encode(), row_id.bytes, organization_id.bytes, kek_id.bytes)


def aad_for_payload(*, purpose: str, row_id: UUID, organization_id: UUID) -> bytes:
    """Associated data of a payload under its data-encryption key."""
    return _aad(b"payload", purpose.encode(), row_id.bytes, organization_id.bytes)


def seal_payload(dek: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """AES-256-GCM with a random nonce: nonce (12 octets) || ciphertext || tag (16 octets)."""
    nonce = os.urandom(_NONCE_OCTETS)
    return nonce + AESGCM(dek).encrypt(nonce, plaintext, aad)


def open_payload(dek: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """Decrypt what `seal_payload` gave. Raises WrapRejected."""
    try:
        return AESGCM(dek).decrypt(ciphertext[:_NONCE_OCTETS], ciphertext[_NONCE_OCTETS:], aad)
    except (InvalidTag, ValueError):
        raise WrapRejected("a stored payload does not open: changed, moved to another row, or another key's") from None


async def seal_private_key(
    token: Token,
    *,
    kek_id: UUID,
    row_id: UUID,
    organization_id: UUID,
    pkcs8: bytes,
    deadline_s: float = DEADLINE_S,
) -> Sealed:
    """Seal a private key under a new data-encryption key. Raises KeyMissing, HsmError, HsmUnavailable."""
    plain = PlainKey(row_id=row_id, organization_id=organization_id, pkcs8=pkcs8)
    return (await seal_private_keys(token, kek_id=kek_id, keys=[plain], deadline_s=deadline_s))[0]


async def open_private_key(
    token: Token,
    *,
    kek_id: UUID,
    row_id: UUID,
    organization_id: UUID,
    sealed: Sealed,
    deadline_s: float = DEADLINE_S,
) -> bytes:
    """Open a sealed private key: PKCS #8 in DER. Raises WrapRejected, KeyMissing, HsmError, HsmUnavailable."""
    stored = SealedKey(row_id=row_id, organization_id=organization_id, sealed=sealed)
    return (await open_private_keys(token, kek_id=kek_id, keys=[stored], deadline_s=deadline_s))[0]


async def seal_private_keys(
    token: Token, *, kek_id: UUID, keys: Sequence[PlainKey], deadline_s: float = DEADLINE_S
) -> list[Sealed]:
    """Seal many private keys in one visit to the token; see `seal_private_key`."""
    deks = [os.urandom(_DEK_OCTETS) for _ in keys]
    items = [(dek, _dek_aad(key, kek_id)) for dek, key in zip(deks, keys, strict=True)]
    wrapped = await kek.wrap_many(token, kek_id, items, deadline_s=deadline_s)
    return [
        Sealed(wrapped_dek, seal_payload(dek, key.pkcs8, _payload_aad(key)))
        for wrapped_dek, dek, key in zip(wrapped, deks, keys, strict=True)
    ]


async def open_private_keys(
    token: Token, *, kek_id: UUID, keys: Sequence[SealedKey], deadline_s: float = DEADLINE_S
) -> list[bytes]:
    """Open many sealed private keys in one visit to the token; see `open_private_key`."""
    items = [(key.sealed.wrapped_dek, _dek_aad(key, kek_id)) for key in keys]
    deks = await kek.unwrap_many(token, kek_id, items, deadline_s=deadline_s)
    return [open_payload(dek, key.sealed.ciphertext, _payload_aad(key)) for dek, key in zip(deks, keys, strict=True)]


async def rewrap_deks(
    token: Token, *, old_kek_id: UUID, new_kek_id: UUID, keys: Sequence[SealedKey], deadline_s: float = DEADLINE_S
) -> list[Sealed]:
    """Wrap data-encryption keys under another KEK, in one visit to the token; the payloads stay as they are.

    Raises WrapRejected when one does not open, KeyMissing, HsmError, HsmUnavailable.
    """
    old = [(key.sealed.wrapped_dek, _dek_aad(key, old_kek_id)) for key in keys]

    def operation(context: SessionContext) -> list[bytes]:
        deks = kek.unwrap_blocking(context, old_kek_id, old)
        new = [(dek, _dek_aad(key, new_kek_id)) for dek, key in zip(deks, keys, strict=True)]
        return kek.wrap_blocking(context, new_kek_id, new)

    wrapped = await token.run(operation, deadline_s=deadline_s)
    return [Sealed(blob, key.sealed.ciphertext) for blob, key in zip(wrapped, keys, strict=True)]


def _dek_aad(key: PlainKey | SealedKey, kek_id: UUID) -> bytes:
    return aad_for_dek(purpose=PRIVATE_KEY, row_id=key.row_id, organization_id=key.organization_id, kek_id=kek_id)


def _payload_aad(key: PlainKey | SealedKey) -> bytes:
    return aad_for_payload(purpose=PRIVATE_KEY, row_id=key.row_id, organization_id=key.organization_id)


def _aad(*fields: bytes) -> bytes:
    """Version, then each field behind its length in two octets: no two lists of fields give the same octets."""
    return _VERSION + b"".join(len(text).to_bytes(2, "big") + text for text in fields)
