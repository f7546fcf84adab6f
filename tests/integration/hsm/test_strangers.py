"""A second object under a key's id does not stop the key: the recorded one is told by what only it can do."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import pytest
from pkcs11 import Attribute, KeyType

from clm.errors import KeyMismatch
from clm.hsm import kek
from clm.hsm.keys import find_signing_key, generate_signing_key
from clm.hsm.pair import half_of
from clm.hsm.signing import sign
from clm.pki.keys import load_spki
from clm.resources.keys import KeySpec
from tests.integration.hsm.test_signing import MESSAGE, verify

if TYPE_CHECKING:
    from clm.hsm.keys import SigningKey
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

P256 = KeySpec("ECDSA", 256)
_CURVES = {"same curve": "06082a8648ce3d030107", "other curve": "06052b81040022"}


def _add_pair(context: SessionContext, key_id: uuid.UUID, kind: str) -> None:
    if kind == "no signing":
        context.session.generate_keypair(
            KeyType.RSA, 2048, id=key_id.bytes, label="stranger", store=True,
            private_template={Attribute.SIGN: False}, public_template={Attribute.VERIFY: False},
        )  # fmt: skip
        return
    domain = context.session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: bytes.fromhex(_CURVES[kind])}, local=True
    )
    domain.generate_keypair(id=key_id.bytes, label="stranger", store=True)


@pytest.mark.parametrize("kind", ["same curve", "other curve", "no signing"])
def test_signing_key_beside_strangers(token_store: TokenStore, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """With strangers before and after it the recorded pair is found and signs, and the strangers are reported."""
    key_id = uuid.uuid4()

    async def make(token: Token) -> SigningKey:
        made = await generate_signing_key(token, key_id=key_id, label="recorded", spec=P256)
        for _ in range(2):
            await token.run(lambda context: _add_pair(context, key_id, kind))
        return made

    made = token_store.do(make)

    async def use(token: Token) -> None:
        is_recorded = half_of(load_spki(made.spki), P256)
        assert await find_signing_key(token, key_id, spki=made.spki) == made
        signature = await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE, is_recorded=is_recorded)
        verify(made.spki, signature, MESSAGE, "sha256")

    with caplog.at_level(logging.WARNING):
        token_store.do(use)
    assert f"has 3 keys of id {key_id}" in caplog.text


def test_nothing_is_guessed(token_store: TokenStore) -> None:
    """Where nothing tells which of several keys is the recorded one, none is used."""
    key_id = uuid.uuid4()

    async def make(token: Token) -> SigningKey:
        for _ in range(2):
            await token.run(lambda context: _add_pair(context, key_id, "same curve"))
        return await generate_signing_key(token, key_id=uuid.uuid4(), label="elsewhere", spec=P256)

    elsewhere = token_store.do(make)

    async def use(token: Token) -> None:
        for spki in (None, elsewhere.spki):
            with pytest.raises(KeyMismatch, match="2 keys of id"):
                await find_signing_key(token, key_id, spki=spki)
        with pytest.raises(KeyMismatch, match="2 keys of id"):
            await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)

    token_store.do(use)


@pytest.mark.parametrize("template", [{}, {Attribute.DECRYPT: False, Attribute.ENCRYPT: False}], ids=["able", "unable"])
def test_kek_beside_strangers(token_store: TokenStore, template: dict[Attribute, bool]) -> None:
    """A key-encryption key is told from strangers by its recorded check value, in every session."""
    key_id = uuid.uuid4()

    async def make(token: Token) -> tuple[bytes, bytes]:
        check_value = await kek.generate_kek(token, key_id=key_id, label="recorded")
        blob = await kek.wrap(token, key_id, b"a key of 32 octets, as DEKs are.", aad=b"row")
        for _ in range(2):
            await token.run(
                lambda context: context.session.generate_key(
                    KeyType.AES, 256, id=key_id.bytes, label="stranger", store=True, template=template
                )
            )
        return check_value, blob

    check_value, blob = token_store.do(make)

    async def use(token: Token) -> None:
        with pytest.raises(KeyMismatch, match="3 keys of id"):
            await kek.unwrap(token, key_id, blob, aad=b"row")
        await kek.verify_kek(token, key_id, check_value)
        for _ in range(8):
            assert await kek.unwrap(token, key_id, blob, aad=b"row") == b"a key of 32 octets, as DEKs are."

    token_store.do(use, workers=2)
