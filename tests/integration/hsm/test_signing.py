"""What the token signs verifies elsewhere, for every algorithm."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from clm.errors import KeyMissing, Unsupported
from clm.hsm.keys import find_signing_key, generate_signing_key
from clm.hsm.signing import sign, sign_blocking
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from clm.hsm.signing import HashName
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
MESSAGE = b"to be signed" * 100


def verify(spki: bytes, signature: bytes, data: bytes, hash_name: str | None) -> None:
    """Verify by OpenSSL, as any relying party does; raises InvalidSignature."""
    public = load_der_public_key(spki)
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, data)
    elif isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, data, padding.PKCS1v15(), HASHES[hash_name or ""])
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, data, ec.ECDSA(HASHES[hash_name or ""]))


@pytest.mark.parametrize(
    "algorithm", ["ECDSA-256", "ECDSA-384", "ECDSA-521", "Ed25519", "RSA-2048", "RSA-3072", "RSA-4096"]
)
def test_every_algorithm_signs_and_verifies(token_store: TokenStore, algorithm: str) -> None:
    """A key of each algorithm is made, found again with the same public key, and signs under each hash."""
    spec, key_id = KeySpec.parse(algorithm), uuid.uuid4()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label=f"ca {algorithm}", spec=spec)
        assert (made.spec, made.label) == (spec, f"ca {algorithm}")
        assert await find_signing_key(token, key_id) == made
        names: tuple[HashName | None, ...] = (None,) if algorithm == "Ed25519" else ("sha256", "sha384", "sha512")
        for name in names:
            signature = await sign(token, key_id, spec=spec, hash_name=name, data=MESSAGE)
            verify(made.spki, signature, MESSAGE, name)

    token_store.do(act)


def test_hash_must_fit_the_algorithm(token_store: TokenStore) -> None:
    """Ed25519 takes no hash, the others need one: said before the token is asked."""

    async def act(token: Token) -> None:
        with pytest.raises(Unsupported):
            await sign(token, uuid.uuid4(), spec=KeySpec("Ed25519", 256), hash_name="sha256", data=b"")
        with pytest.raises(Unsupported):
            await sign(token, uuid.uuid4(), spec=KeySpec("RSA", 2048), hash_name=None, data=b"")

    token_store.do(act)


def test_missing_key_is_told_not_made(token_store: TokenStore) -> None:
    """A key that is not there is KeyMissing, each time, and the token works on for others."""
    spec, absent, present = KeySpec("ECDSA", 256), uuid.uuid4(), uuid.uuid4()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=present, label="present", spec=spec)
        for _ in range(3):
            with pytest.raises(KeyMissing, match=str(absent)):
                await sign(token, absent, spec=spec, hash_name="sha256", data=MESSAGE)
        signature = await sign(token, present, spec=spec, hash_name="sha256", data=MESSAGE)
        verify(made.spki, signature, MESSAGE, "sha256")
        assert await find_signing_key(token, absent) is None

    token_store.do(act)


def test_several_signatures_in_one_visit(token_store: TokenStore) -> None:
    """`sign_blocking` signs many within one operation."""
    spec, key_id = KeySpec("ECDSA", 384), uuid.uuid4()
    messages = [bytes([place]) * 50 for place in range(20)]

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="group", spec=spec)
        signatures = await token.run(
            lambda context: [
                sign_blocking(context, key_id, spec=spec, hash_name="sha384", data=message) for message in messages
            ]
        )
        for message, signature in zip(messages, signatures, strict=True):
            verify(made.spki, signature, message, "sha384")

    token_store.do(act)
