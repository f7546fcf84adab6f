"""Keys are made inside, found by their id, and what an interrupted generation leaves can be told and removed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from pkcs11 import Attribute, KeyType, ObjectClass

from clm.errors import HsmError, KeyMismatch
from clm.hsm import keys
from clm.hsm.faults import LostError
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

P256 = KeySpec("ECDSA", 256)


class Killed(BaseException):
    """Stands for the end of the process."""


def objects_of(context: SessionContext, key_id: uuid.UUID) -> list[ObjectClass]:
    """Classes of the objects that the token has under this id."""
    return sorted(key[Attribute.CLASS] for key in context.find({Attribute.ID: key_id.bytes}))


def test_attributes_prove_generation_inside(token_store: TokenStore) -> None:
    """The three attributes that tell "generated inside" from "imported" are read back from the token."""
    made = token_store.do(lambda token: keys.generate_signing_key(token, key_id=uuid.uuid4(), label="proof", spec=P256))
    assert made.attributes == {
        "ALWAYS_SENSITIVE": True,
        "NEVER_EXTRACTABLE": True,
        "LOCAL": True,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
    }


def test_imported_key_is_refused(token_store: TokenStore) -> None:
    """A pair whose private key was extractable is not accepted as a signing key."""
    key_id = uuid.uuid4()

    def extractable(context: SessionContext) -> None:
        domain = context.session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, local=True
        )
        domain.generate_keypair(
            id=key_id.bytes, label="weak", store=True, private_template={Attribute.EXTRACTABLE: True}
        )

    token_store.visit(extractable)
    with pytest.raises(HsmError, match="NEVER_EXTRACTABLE, EXTRACTABLE"):
        token_store.do(lambda token: keys.find_signing_key(token, key_id))


def test_generation_refuses_an_id_that_stands(token_store: TokenStore) -> None:
    """A second key under the same id is never made; the first one is untouched."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        made = await keys.generate_signing_key(token, key_id=key_id, label="first", spec=P256)
        with pytest.raises(KeyMismatch):
            await keys.generate_signing_key(token, key_id=key_id, label="second", spec=P256)
        assert await keys.find_signing_key(token, key_id) == made

    token_store.do(act)


def test_crash_between_generation_and_read_back(token_store: TokenStore) -> None:
    """What the interrupted attempt left is found, removed, and made anew under the same id."""
    key_id = uuid.uuid4()

    def die(_name: str) -> None:
        raise Killed

    async def act(token: Token) -> None:
        with pytest.raises(Killed):
            await keys.generate_signing_key(token, key_id=key_id, label="cut", spec=P256, boundary=die)
        left = await keys.find_signing_key(token, key_id)
        assert left is not None
        assert await keys.remove_unfinished(token, key_id) == 2
        assert await keys.find_signing_key(token, key_id) is None
        made = await keys.generate_signing_key(token, key_id=key_id, label="again", spec=P256)
        assert made.spki != left.spki

    token_store.do(act)


def test_loss_between_generation_and_read_back_leaves_one_pair(token_store: TokenStore) -> None:
    """The operation repeats itself after a loss, and cleans up what its own first attempt made."""
    key_id = uuid.uuid4()
    attempts = []

    def lose_once(name: str) -> None:
        attempts.append(name)
        if len(attempts) == 1:
            raise LostError("the session is gone")

    async def act(token: Token) -> None:
        made = await keys.generate_signing_key(token, key_id=key_id, label="lost", spec=P256, boundary=lose_once)
        assert attempts == ["hsm.key-generated"] * 2
        assert await token.run(lambda context: objects_of(context, key_id)) == [
            ObjectClass.PUBLIC_KEY,
            ObjectClass.PRIVATE_KEY,
        ]
        assert await keys.find_signing_key(token, key_id) == made

    token_store.do(act)


@pytest.mark.parametrize("lost", [ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY])
def test_half_a_pair_is_no_key(token_store: TokenStore, lost: ObjectClass) -> None:
    """A generation that died half way leaves one half: not found as a key, and removable."""
    key_id = uuid.uuid4()

    def destroy_half(context: SessionContext) -> None:
        for key in context.find({Attribute.ID: key_id.bytes, Attribute.CLASS: lost}):
            key.destroy()

    async def act(token: Token) -> None:
        await keys.generate_signing_key(token, key_id=key_id, label="half", spec=P256)
        await token.run(destroy_half)
        assert await keys.find_signing_key(token, key_id) is None
        assert await keys.remove_unfinished(token, key_id) == 1
        assert await keys.remove_unfinished(token, key_id) == 0

    token_store.do(act)


def test_listing_shows_ours_and_strangers(token_store: TokenStore) -> None:
    """Every key object is listed, with its id when it is one of CLM's and its raw id when not."""
    key_id = uuid.uuid4()

    def stranger(context: SessionContext) -> None:
        context.session.generate_key(KeyType.AES, 256, id=b"\x01\x02", label="stranger", store=True)

    async def act(token: Token) -> list[keys.KeyObject]:
        await keys.generate_signing_key(token, key_id=key_id, label="listed", spec=P256)
        await token.run(stranger)
        return await keys.list_keys(token)

    listed = token_store.do(act)
    assert {key.object_class for key in listed if key.key_id == key_id} == {"PRIVATE_KEY", "PUBLIC_KEY"}
    assert keys.KeyObject(None, b"\x01\x02", "stranger", "SECRET_KEY") in listed
