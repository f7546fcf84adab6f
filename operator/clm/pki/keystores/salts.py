"""Salts and initialization vectors that are the same whenever the same keystore is written again.

A Secret is compared with what it should hold, byte by byte. With salts out of a random generator every look would find
a difference and write. So they are derived, by HMAC, from the private key and from all that is encrypted. Who does not
have the key cannot foresee them, and two different contents never share one, which is what they are there for (RFC 8018
4.1; CBC needs an unforeseeable IV). The password is left out on purpose: a salt is public, and with the password in it,
a guess could be tested by one HMAC instead of all the iterations.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOMAIN = b"clm-operator.io/keystore/v1"
_LONGEST = 32


class Salts:
    """The salts of one file. Each purpose has its own."""

    __slots__ = ("_seed",)

    def __init__(self, private_key: bytes, *, form: str, contents: Iterable[bytes]) -> None:
        """Take the private key in PKCS#8 DER, the kind of file, and everything that goes into it."""
        digest = hashlib.sha256()
        for part in (form.encode(), *contents):
            digest.update(len(part).to_bytes(8, "big") + part)
        secret = hmac.digest(_DOMAIN, private_key, "sha256")
        self._seed = hmac.digest(secret, digest.digest(), "sha256")

    def take(self, purpose: str, size: int) -> bytes:
        """Give the bytes for one purpose, 32 at most."""
        assert size <= _LONGEST  # noqa: S101 - the callers' constants
        return hmac.digest(self._seed, purpose.encode(), "sha256")[:size]
