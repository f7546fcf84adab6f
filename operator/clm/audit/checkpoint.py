"""What is signed of a batch: a checkpoint, as a signed note in the style of C2SP (tlog-checkpoint, signed-note).

    clm-audit/v1 6f1e...c2 clm_secure_db
    17
    Nt0...=
    epoch 1
    xids 1022 1987
    records 57
    total 10234
    previous q83...=
    sealed-at 2026-03-01T12:00:00.000000Z

    — clm-audit-sealing/1b4e... wKc...=

The first line names the log, the second numbers the batch, the third is the root over its records. `previous` is the
SHA-256 of the text of the batch before. A signature line is a name and, in base64, four octets of SHA-256 of the
public key and the ECDSA signature over the text.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_PREVIOUS = bytes(32)
"""What the first batch of a log has for the one before."""

_VERSION = "clm-audit/v1"
_KEY = "clm-audit-sealing/"
_KEY_HASH_OCTETS = 4


class Signer(Protocol):
    """Signs notes with one key."""

    @property
    def key_id(self) -> uuid.UUID:
        """Id of the key."""

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo of the key, DER."""

    async def sign(self, data: bytes) -> bytes:
        """Sign with ECDSA over SHA-256; gives Ecdsa-Sig-Value in DER."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log: that of one database of one cluster."""

    cluster_id: uuid.UUID
    database: str

    def __str__(self) -> str:
        """First line of every note of this log."""
        return f"{_VERSION} {self.cluster_id} {self.database}"

    @classmethod
    def parse(cls, line: str) -> Origin:
        """Read what `str` writes. Raises NoteInvalid."""
        match line.split(" "):
            case [version, cluster, database] if version == _VERSION and database:
                try:
                    return cls(uuid.UUID(cluster), database)
                except ValueError:
                    pass
        raise NoteInvalid(f"not the first line of an audit note: {line[:80]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One sealed batch: the records of `epoch` with from_xid <= txid < to_xid, in order of txid and id.

    `total` counts the records of this batch and of all before it.
    """

    origin: Origin
    batch: int
    root: bytes
    epoch: int
    from_xid: int
    to_xid: int
    records: int
    total: int
    previous: bytes
    sealed_at: datetime

    def text(self) -> str:
        """What is signed."""
        return (
            f"{self.origin}\n{self.batch}\n{_base64(self.root)}\n"
            f"epoch {self.epoch}\nxids {self.from_xid} {self.to_xid}\nrecords {self.records}\ntotal {self.total}\n"
            f"previous {_base64(self.previous)}\nsealed-at {format_time(self.sealed_at)}\n"
        )

    def digest(self) -> bytes:
        """What the next batch names this one by."""
        return hashlib.sha256(self.text().encode()).digest()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read what `text` writes, and nothing else. Raises NoteInvalid."""
        try:
            origin, batch, root, *named, end = text.split("\n")
            values = dict(line.split(" ", 1) for line in named)
            from_xid, to_xid = values["xids"].split(" ")
            made = cls(
                origin=Origin.parse(origin),
                batch=int(batch),
                root=base64.b64decode(root, validate=True),
                epoch=int(values["epoch"]),
                from_xid=int(from_xid),
                to_xid=int(to_xid),
                records=int(values["records"]),
                total=int(values["total"]),
                previous=base64.b64decode(values["previous"], validate=True),
                sealed_at=parse_time(values["sealed-at"]),
            )
        except (ValueError, KeyError) as error:
            raise NoteInvalid(f"not a checkpoint: {error}") from None
        # One way to write it: what reads the same is the same.
        if end or made.text() != text:
            raise NoteInvalid("not a checkpoint as this version writes it")
        return made


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text and its signature."""

    text: str
    key_id: uuid.UUID
    key_hash: bytes
    signature: bytes

    def __str__(self) -> str:
        """The note as it is stored and published."""
        return f"{self.text}\n— {_KEY}{self.key_id} {_base64(self.key_hash + self.signature)}\n"

    @classmethod
    def parse(cls, note: str) -> SignedNote:
        """Read what `str` writes. Raises NoteInvalid."""
        text, blank, line = note.rpartition("\n\n— ")
        try:
            name, signature = line.removesuffix("\n").split(" ")
            raw = base64.b64decode(signature, validate=True)
            key_id = uuid.UUID(name.removeprefix(_KEY))
        except ValueError:
            raise NoteInvalid("not a signed note") from None
        made = cls(f"{text}\n", key_id, raw[:_KEY_HASH_OCTETS], raw[_KEY_HASH_OCTETS:])
        if not blank or str(made) != note:
            raise NoteInvalid("not a signed note as this version writes it")
        return made

    def verify(self, keys: Sequence[bytes]) -> bytes:
        """Check the signature; give the key that made it.

        `keys` are the public keys that are trusted (SPKI, DER). Raises NoteInvalid.
        """
        named = [spki for spki in keys if key_hash(spki) == self.key_hash]
        if not named:
            raise NoteInvalid(f"signed by a key that is not trusted ({self.key_id})")
        for spki in named:
            if _verifies(spki, self.signature, self.text.encode()):
                return spki
        raise NoteInvalid("the signature does not verify")


async def sign_note(text: str, signer: Signer) -> SignedNote:
    """Sign a text. Raises NoteInvalid when what the signer gave does not verify: it is never stored."""
    signature = await signer.sign(text.encode())
    note = SignedNote(text, signer.key_id, key_hash(signer.spki), signature)
    note.verify([signer.spki])
    return note


def key_hash(spki: bytes) -> bytes:
    """Short name of a public key in a signature line."""
    return hashlib.sha256(spki).digest()[:_KEY_HASH_OCTETS]


def format_time(moment: datetime) -> str:
    """Time in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes. Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def public_pem(spki: bytes) -> str:
    """A public key in PEM. Raises NoteInvalid."""
    key = _load(spki)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _load(spki: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise NoteInvalid("not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise NoteInvalid(f"notes are signed with ECDSA, and this is a {type(key).__name__}")
    return key


def _verifies(spki: bytes, signature: bytes, data: bytes) -> bool:
    try:
        _load(spki).verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
