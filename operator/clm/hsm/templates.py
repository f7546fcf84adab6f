"""Attributes that CLM's keys are generated with, and those that prove how a key came to be.

A signing key signs and nothing else; a key-encryption key encrypts and nothing else. WRAP beside DECRYPT would let
whoever has the PIN wrap any key and decrypt it into the open, so the two never meet in one key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute

from clm.errors import HsmError

if TYPE_CHECKING:
    from uuid import UUID

PROOF = {
    "ALWAYS_SENSITIVE": Attribute.ALWAYS_SENSITIVE,
    "NEVER_EXTRACTABLE": Attribute.NEVER_EXTRACTABLE,
    "LOCAL": Attribute.LOCAL,
}
"""True together only for a key that was generated inside the token and could never leave it (PKCS#11 2.40 4.4)."""


def _identity(key_id: UUID, label: str) -> dict[Attribute, Any]:
    return {Attribute.TOKEN: True, Attribute.ID: key_id.bytes, Attribute.LABEL: label, Attribute.MODIFIABLE: False}


def private_signing_key(key_id: UUID, label: str) -> dict[Attribute, Any]:
    """Private half of a signing key."""
    return _identity(key_id, label) | {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: True,
        Attribute.DECRYPT: False,
        Attribute.UNWRAP: False,
        Attribute.DERIVE: False,
    }


def public_signing_key(key_id: UUID, label: str) -> dict[Attribute, Any]:
    """Public half of a signing key."""
    return _identity(key_id, label) | {
        Attribute.PRIVATE: False,
        Attribute.VERIFY: True,
        Attribute.ENCRYPT: False,
        Attribute.WRAP: False,
    }


def key_encryption_key(key_id: UUID, label: str) -> dict[Attribute, Any]:
    """AES key that wraps data-encryption keys by C_Encrypt, never by C_WrapKey."""
    return _identity(key_id, label) | {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
        Attribute.WRAP: False,
        Attribute.UNWRAP: False,
        Attribute.SIGN: False,
        Attribute.VERIFY: False,
        Attribute.DERIVE: False,
    }


def read_proof(key: Any) -> dict[str, bool]:  # noqa: ANN401 - python-pkcs11 makes a class for each object
    """Read back what proves that the key was made inside and stays there. Raises HsmError when it does not."""
    proof = {name: bool(key[attribute]) for name, attribute in PROOF.items()}
    attributes = proof | {
        "SENSITIVE": bool(key[Attribute.SENSITIVE]),
        "EXTRACTABLE": bool(key[Attribute.EXTRACTABLE]),
    }
    wrong = [name for name, value in attributes.items() if value is (name == "EXTRACTABLE")]
    if wrong:
        raise HsmError(f"the token made a key that could leave it: {', '.join(wrong)} is not as asked for")
    return attributes
