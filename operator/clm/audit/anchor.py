"""Reads anchors as they come: the data of the ConfigMap, its manifest as kubectl prints it, or a single note."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_PEM_END = "-----END PUBLIC KEY-----"


def read_anchors(text: str) -> Mapping[str, str]:
    """The data of the ConfigMap; a single note stands under its database. Raises NoteInvalid."""
    if text.startswith("clm-audit/"):
        note = SignedNote.parse(text)
        return {Checkpoint.parse(note.text).origin.database: str(note)}
    try:
        # JSON is YAML.
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        value = value["data"]
    if not isinstance(value, dict) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise NoteInvalid("not an anchor: neither a note, nor the ConfigMap's manifest or data")
    return value


def anchor_of(anchors: Mapping[str, str], database: str) -> SignedNote | None:
    """The anchored note of one log; None where none is. Raises NoteInvalid."""
    note = anchors.get(database)
    return None if note is None else SignedNote.parse(note)


def read_public_keys(text: str) -> list[bytes]:
    """Public keys (SPKI, DER) of a file of one or more in PEM. Raises NoteInvalid."""
    blocks = [f"{block}{_PEM_END}\n" for block in text.split(_PEM_END)[:-1]]
    if not blocks:
        raise NoteInvalid("no public key in PEM")
    try:
        return [
            load_pem_public_key(block.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for block in blocks
        ]
    except ValueError as error:
        raise NoteInvalid(f"not a public key in PEM: {error}") from None
