"""The probe tells what the token can do, and the attempts to take a key tell the truth either way."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from pkcs11 import Attribute, KeyType

from clm.errors import KeyMissing, Unsupported
from clm.hsm import kek
from clm.hsm.keys import find_signing_key, generate_signing_key, list_keys
from clm.hsm.non_extractable import verify_non_extractable
from clm.hsm.probe import Capabilities, probe
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore


def test_probe_of_softhsm(token_store: TokenStore) -> None:
    """All algorithms of CLM work, AES-GCM heeds its associated data, and the probe leaves no key behind."""

    async def act(token: Token) -> tuple[Capabilities, int, int]:
        before = len(await list_keys(token))
        return await probe(token), before, len(await list_keys(token))

    found, before, after = token_store.do(act)
    assert found.failures == ()
    assert found.aes_gcm
    assert set(found.signing) == {
        "ECDSA-256",
        "ECDSA-384",
        "ECDSA-521",
        "Ed25519",
        "RSA-2048",
        "RSA-3072",
        "RSA-4096",
    }
    assert (found.label, found.serial) == (token_store.label, token_store.serial)
    assert "AES_GCM" in found.mechanisms
    assert before == after
    found.require(signing=KeySpec("ECDSA", 384))


def test_requirement_that_is_not_met() -> None:
    """What is lacking is named, with how the token refused it."""
    poor = Capabilities(
        label="poor",
        serial="1",
        manufacturer="",
        model="",
        module="",
        mechanisms=(),
        signing=("RSA-2048",),
        aes_gcm=True,
        failures=("Ed25519: MechanismInvalid",),
    )
    with pytest.raises(Unsupported, match=r"lacks Ed25519.*MechanismInvalid"):
        poor.require(signing=KeySpec("Ed25519", 256))
    poor.require(signing=KeySpec("RSA", 2048))


@pytest.mark.parametrize("algorithm", ["ECDSA-256", "RSA-2048", "Ed25519"])
def test_signing_key_cannot_be_taken(token_store: TokenStore, algorithm: str) -> None:
    """Reading, changing, copying and wrapping are all refused, and the key is the same afterwards."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="fort", spec=KeySpec.parse(algorithm))
        attempts = await verify_non_extractable(token, key_id)
        assert [attempt for attempt in attempts if not attempt.refused] == []
        assert len(attempts) > 12
        assert await find_signing_key(token, key_id) == made

    token_store.do(act)


def test_kek_cannot_be_taken(token_store: TokenStore) -> None:
    """The same for a key-encryption key."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        check_value = await kek.generate_kek(token, key_id=key_id, label="fort")
        attempts = await verify_non_extractable(token, key_id)
        assert [attempt for attempt in attempts if not attempt.refused] == []
        await kek.verify_kek(token, key_id, check_value)

    token_store.do(act)


def test_key_that_can_be_taken_is_found_out(token_store: TokenStore) -> None:
    """A weak key shows in several attempts: the test above can fail."""
    key_id = uuid.uuid4()

    def weak(context: SessionContext) -> None:
        template = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
        context.session.generate_key(KeyType.AES, 256, id=key_id.bytes, label="weak", store=True, template=template)

    async def act(token: Token) -> set[str]:
        await token.run(weak)
        return {each.attempt for each in await verify_non_extractable(token, key_id) if not each.refused}

    gained = token_store.do(act)
    assert "read VALUE" in gained
    assert "wrap by AES_KEY_WRAP" in gained


def test_absent_key_is_missing(token_store: TokenStore) -> None:
    """No key, no verdict."""
    with pytest.raises(KeyMissing):
        token_store.do(lambda token: verify_non_extractable(token, uuid.uuid4()))
