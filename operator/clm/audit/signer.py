"""Notes are signed by a key in the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.hsm.signing import sign
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    import uuid

    from clm.hsm.token import Token

SEALING_KEY = KeySpec("ECDSA", 256)
"""What sealing keys are: every module has it, and a signature is 72 octets."""


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Signs with the key of this id."""

    token: Token
    key_id: uuid.UUID
    spki: bytes

    async def sign(self, data: bytes) -> bytes:
        """Sign with ECDSA over SHA-256. Raises KeyMissing, HsmError, HsmUnavailable."""
        return await sign(self.token, self.key_id, spec=SEALING_KEY, hash_name="sha256", data=data)
