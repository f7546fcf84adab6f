"""Wrapped keys open under their KEK and in their row only."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from pkcs11 import Attribute, KeyType

from clm.errors import HsmError, KeyMismatch, KeyMissing, WrapRejected
from clm.hsm import envelope, kek
from clm.hsm.keys import remove_unfinished
from clm.hsm.library import open_library
from clm.hsm.templates import key_encryption_key

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

DEK = bytes(range(32))


def test_round_trip_and_layout(token_store: TokenStore) -> None:
    """IV, ciphertext and tag: 60 octets for a 32-octet key, another IV each time."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        await kek.generate_kek(token, key_id=key_id, label="clm-kek-v1")
        first = await kek.wrap(token, key_id, DEK, aad=b"row")
        second = await kek.wrap(token, key_id, DEK, aad=b"row")
        assert len(first) == 60
        assert first[:12] != second[:12]
        assert DEK not in first
        assert await kek.unwrap_many(token, key_id, [(first, b"row"), (second, b"row")]) == [DEK, DEK]

    token_store.do(act)


def test_what_was_changed_or_moved_does_not_open(token_store: TokenStore) -> None:
    """Other associated data, each octet changed, cut short, another KEK: all rejected, and no reconnection."""
    key_id, other = uuid.uuid4(), uuid.uuid4()

    async def act(token: Token) -> None:
        for each in (key_id, other):
            await kek.generate_kek(token, key_id=each, label="clm-kek")
        blob = await kek.wrap(token, key_id, DEK, aad=b"row 1")
        generation = open_library(token_store.module_path).generation
        damaged = [blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :] for place in range(len(blob))]
        for wrong in (*damaged, blob[:-1], blob[:27], b"", blob + b"\0"):
            with pytest.raises(WrapRejected):
                await kek.unwrap(token, key_id, wrong, aad=b"row 1")
        with pytest.raises(WrapRejected):
            await kek.unwrap(token, key_id, blob, aad=b"row 2")
        with pytest.raises(WrapRejected):
            await kek.unwrap(token, other, blob, aad=b"row 1")
        with pytest.raises(WrapRejected, match="2 of 2"):
            await kek.unwrap_many(token, key_id, [(blob, b"row 1"), (blob, b"row 2")])
        assert await kek.unwrap(token, key_id, blob, aad=b"row 1") == DEK
        assert open_library(token_store.module_path).generation == generation

    token_store.do(act)


def test_check_value_tells_the_key_from_another(token_store: TokenStore) -> None:
    """A KEK made again under the same id is a mismatch, an absent one is missing; neither is remade."""
    key_id, other = uuid.uuid4(), uuid.uuid4()

    async def act(token: Token) -> None:
        check_value = await kek.generate_kek(token, key_id=key_id, label="clm-kek-v1")
        await kek.verify_kek(token, key_id, check_value)
        with pytest.raises(KeyMissing):
            await kek.verify_kek(token, other, check_value)
        await remove_unfinished(token, key_id)
        await kek.generate_kek(token, key_id=key_id, label="clm-kek-v1")

    async def again(token: Token, check_value: bytes) -> None:
        with pytest.raises(KeyMismatch):
            await kek.verify_kek(token, key_id, check_value)

    async def make(token: Token) -> bytes:
        return await kek.generate_kek(token, key_id=other, label="other")

    token_store.do(act)
    foreign = token_store.do(make)
    token_store.do(lambda token: again(token, foreign))


def test_kek_that_wraps_objects_is_refused(token_store: TokenStore) -> None:
    """WRAP beside DECRYPT lets any key of the token out: such a key is not accepted as a KEK."""
    key_id = uuid.uuid4()

    def make(context: SessionContext) -> None:
        template = key_encryption_key(key_id, "wide") | {Attribute.WRAP: True}
        context.session.generate_key(KeyType.AES, 256, store=True, template=template)

    async def act(token: Token) -> None:
        await token.run(make)
        with pytest.raises(HsmError, match="can wrap"):
            await kek.verify_kek(token, key_id, bytes(60))

    token_store.do(act)


def test_private_key_envelope_is_bound_to_its_row(token_store: TokenStore) -> None:
    """A sealed key opens in its own row and organization, and nowhere else."""
    key_id, row, organization = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    pkcs8 = os.urandom(1200)

    async def act(token: Token) -> None:
        await kek.generate_kek(token, key_id=key_id, label="clm-kek-v1")
        sealed = await envelope.seal_private_key(
            token, kek_id=key_id, row_id=row, organization_id=organization, pkcs8=pkcs8
        )
        assert pkcs8[:16] not in sealed.ciphertext

        async def open_as(row_id: uuid.UUID, organization_id: uuid.UUID, value: envelope.Sealed) -> bytes:
            return await envelope.open_private_key(
                token, kek_id=key_id, row_id=row_id, organization_id=organization_id, sealed=value
            )

        assert await open_as(row, organization, sealed) == pkcs8
        with pytest.raises(WrapRejected):
            await open_as(uuid.uuid4(), organization, sealed)
        with pytest.raises(WrapRejected):
            await open_as(row, uuid.uuid4(), sealed)
        other = await envelope.seal_private_key(
            token, kek_id=key_id, row_id=row, organization_id=organization, pkcs8=pkcs8
        )
        with pytest.raises(WrapRejected):
            await open_as(row, organization, envelope.Sealed(sealed.wrapped_dek, other.ciphertext))

    token_store.do(act)


def test_rotation_wraps_again_and_touches_no_payload(token_store: TokenStore) -> None:
    """After a rewrap the payload is the same octets, opens under the new KEK, and not under the old one."""
    old, new, organization = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    plain = [
        envelope.PlainKey(row_id=uuid.uuid4(), organization_id=organization, pkcs8=os.urandom(138)) for _ in range(25)
    ]

    def stored(sealed: list[envelope.Sealed]) -> list[envelope.SealedKey]:
        return [
            envelope.SealedKey(row_id=key.row_id, organization_id=organization, sealed=value)
            for key, value in zip(plain, sealed, strict=True)
        ]

    async def act(token: Token) -> None:
        for version, each in enumerate((old, new), start=1):
            await kek.generate_kek(token, key_id=each, label=f"clm-kek-v{version}")
        sealed = await envelope.seal_private_keys(token, kek_id=old, keys=plain)
        rewrapped = await envelope.rewrap_deks(token, old_kek_id=old, new_kek_id=new, keys=stored(sealed))
        assert [value.ciphertext for value in rewrapped] == [value.ciphertext for value in sealed]
        opened = await envelope.open_private_keys(token, kek_id=new, keys=stored(rewrapped))
        assert opened == [key.pkcs8 for key in plain]
        with pytest.raises(WrapRejected):
            await envelope.open_private_keys(token, kek_id=old, keys=stored(rewrapped))

    token_store.do(act)
