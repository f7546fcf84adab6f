"""Anchors as they come: the data of the ConfigMap, its manifest as kubectl prints it, or a single note.

For each log the key of its database's name holds the newest signed note. Beside it stands what is never taken away:

    public-key.pem                        the public keys that notes verify under, those of former keys included
    <database>.superseded.<n>             the n-th anchor that a person gave up, after a line `accepted <batch>`
    <database>.compromised.<sha-256>      of a key that was called compromised: the newest note then. What it signed
                                          later is not trusted; where this is empty, nothing is
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PEM_END = "-----END PUBLIC KEY-----"
_SUPERSEDED = ".superseded."
_COMPROMISED = ".compromised."

Ends = dict[bytes, Checkpoint | None]
"""By the SHA-256 of a compromised public key: the newest batch when that was said; None: it is trusted for none."""


class GivenUp(NamedTuple):
    """An anchor that a person gave up, whatever it holds, and the batch that was accepted for the end of the log."""

    note: str
    accepted: int

    def covers(self, note: str) -> bool:
        """Whether another anchor was given up with this one: it is of the same end that the log lost."""
        if note == self.note:
            return True
        try:
            mine, other = checkpoint_of(self.note), checkpoint_of(note)
        except NoteInvalid:
            return False
        return self.accepted < other.batch <= mine.batch and other.sealed_at <= mine.sealed_at


def checkpoint_of(note: str) -> Checkpoint:
    """What a note says; its signature is not looked at. Raises NoteInvalid."""
    return Checkpoint.parse(SignedNote.parse(note).text)


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


def given_up_of(anchors: Mapping[str, str], database: str) -> list[GivenUp]:
    """The anchors of one log that were given up, first to last; what is not written by CLM is left out."""
    found = []
    for number in range(1, len(anchors) + 1):
        first, _, note = anchors.get(f"{database}{_SUPERSEDED}{number}", "").partition("\n")
        if first.startswith("accepted ") and first[9:].isdecimal():
            found.append(GivenUp(note, int(first[9:])))
    return found


def give_up(anchors: Mapping[str, str], database: str, notes: Iterable[str], *, accepted: int) -> dict[str, str]:
    """What is to be written when anchors are given up: each under a number of its own, none over another."""
    taken = [int(key.rpartition(".")[2]) for key in anchors if _is_numbered(key, database)]
    first = max(taken, default=0) + 1
    return {
        f"{database}{_SUPERSEDED}{number}": f"accepted {accepted}\n{note}" for number, note in enumerate(notes, first)
    }


def ends_of(anchors: Mapping[str, str], database: str) -> Ends:
    """Until which batch each compromised key is trusted. Raises NoteInvalid."""
    prefix = f"{database}{_COMPROMISED}"
    ends: Ends = {}
    for key, note in anchors.items():
        if key.startswith(prefix):
            try:
                ends[bytes.fromhex(key.removeprefix(prefix))] = checkpoint_of(note) if note else None
            except ValueError:
                raise NoteInvalid(f"not the name of a compromised key: {key}") from None
    return ends


def end_name(database: str, spki: bytes) -> str:
    """Under which key of the ConfigMap it stands until when a compromised key is trusted."""
    return f"{database}{_COMPROMISED}{hashlib.sha256(spki).hexdigest()}"


def is_lasting(key: str) -> bool:
    """Whether a key of the ConfigMap holds what is never taken away again."""
    return _SUPERSEDED in key or _COMPROMISED in key


def read_public_keys(text: str) -> list[bytes]:
    """Public keys (SPKI, DER) of a file of one or more in PEM. Raises NoteInvalid."""
    blocks = _blocks(text)
    if not blocks:
        raise NoteInvalid("no public key in PEM")
    return [_public_key(block) for block in blocks]


def gather_keys(texts: Iterable[str], more: Sequence[bytes]) -> list[bytes]:
    """Every public key that can be read out of several texts, and `more`, each once, in this order."""
    keys: dict[bytes, None] = {}
    for block in (block for text in texts for block in _blocks(text)):
        try:
            keys[_public_key(block)] = None
        except NoteInvalid:
            # Somebody wrote something else there: the good ones are kept.
            continue
    return list(keys | dict.fromkeys(more))


def _is_numbered(key: str, database: str) -> bool:
    return key.startswith(f"{database}{_SUPERSEDED}") and key.rpartition(".")[2].isdecimal()


def _blocks(text: str) -> list[str]:
    return [f"{block}{_PEM_END}\n" for block in text.split(_PEM_END)[:-1]]


def _public_key(block: str) -> bytes:
    try:
        key = load_pem_public_key(block.encode())
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError) as error:
        raise NoteInvalid(f"not a public key in PEM: {error}") from None
