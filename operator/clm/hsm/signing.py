"""Signatures by the token, in the octets that go into X.509's BIT STRING.

The digest is computed here and only the digest sent: raw CKM_ECDSA, CKM_RSA_PKCS and CKM_EDDSA are on every module,
the combined mechanisms are not.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Mechanism

from clm.errors import Unsupported
from clm.hsm.token import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from clm.hsm.session import Key, SessionContext
    from clm.hsm.token import Token
    from clm.resources.keys import KeySpec

_LARGE = 65536

HashName = Literal["sha256", "sha384", "sha512"]

_DIGEST_INFO: dict[HashName, bytes] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of DigestInfo up to the digest (RFC 8017 9.2, note 1)."""


async def sign(
    token: Token,
    key_id: UUID,
    *,
    spec: KeySpec,
    hash_name: HashName | None,
    data: bytes,
    is_recorded: Callable[[Key], bool] | None = None,
    deadline_s: float = DEADLINE_S,
) -> bytes:
    """Sign `data` (the whole to-be-signed bytes) and give the octets of signatureValue (RFC 5280 4.1.1.3).

    ECDSA: Ecdsa-Sig-Value in DER (RFC 3279 2.2.3); RSA: PKCS #1 v1.5 (RFC 3279 2.2.1); Ed25519: R || S (RFC 8410 6),
    where `hash_name` is None. `is_recorded` tells the key from another one under its id. Raises KeyMissing when the
    token has no such key even after connecting again, KeyMismatch when it has several, Unsupported, HsmError,
    HsmUnavailable.
    """
    # Megabytes, which CRLs have, are not hashed on the event loop.
    large = len(data) > _LARGE
    prepared = await asyncio.to_thread(prepare, spec, hash_name, data) if large else prepare(spec, hash_name, data)

    def operation(context: SessionContext) -> bytes:
        return sign_prepared(context.private_key(key_id, is_recorded=is_recorded), spec, prepared)

    return await token.run(operation, deadline_s=deadline_s)


def sign_blocking(
    context: SessionContext, key_id: UUID, *, spec: KeySpec, hash_name: HashName | None, data: bytes
) -> bytes:
    """Sign within an operation given to `Token.run`; see `sign`."""
    return sign_prepared(context.private_key(key_id), spec, prepare(spec, hash_name, data))


def prepare(spec: KeySpec, hash_name: HashName | None, data: bytes) -> bytes:
    """Give the octets that the token has to sign. Raises Unsupported when the hash does not fit the algorithm."""
    if spec.algorithm == "Ed25519":
        if hash_name is not None:
            raise Unsupported("Ed25519 signs the message itself (RFC 8032 5.1), not a digest")
        return data
    if hash_name is None:
        raise Unsupported(f"{spec.algorithm} signs a digest: a hash is needed")
    digest = hashlib.new(hash_name, data).digest()
    if spec.algorithm == "RSA":
        return _DIGEST_INFO[hash_name] + digest
    # FIPS 186-5 6.4.1: the leftmost bits, as many as the order has; some modules refuse more.
    return digest[: (spec.size + 7) // 8]


def sign_prepared(key: Key, spec: KeySpec, prepared: bytes) -> bytes:
    """Have the token sign what `prepare` gave; returns the octets of signatureValue."""
    if spec.algorithm == "ECDSA":
        raw: bytes = key.sign(prepared, mechanism=Mechanism.ECDSA, buffer_size=256)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    mechanism = Mechanism.RSA_PKCS if spec.algorithm == "RSA" else Mechanism.EDDSA
    signature: bytes = key.sign(prepared, mechanism=mechanism, buffer_size=1024)
    return signature
