"""A month of a log as files that need no database: signed, and read back before anything is dropped.

    <folder>/clm_secure_db-2026-03/
        records.jsonl.gz    the records in order of epoch, txid and id
        seals.jsonl.gz      the seals that cover them
        manifest.note       what of which batches is in it, signed

0. Prove the seals from the first of the month on: each signed, each naming the one before, up to the anchor.
1. Write the records; each must be one that its seal covers.
2. Write the seals and the signed manifest.
3. Read all of it back and prove it from the files alone.
4. Record the archive in the database. When that record is sealed, `clm_guard.drop_archived_partition` drops it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Self

import orjson

from clm.audit.chain import NoteChain
from clm.audit.checkpoint import Checkpoint, SignedNote, sign_note
from clm.audit.dump import seal_from_json, seal_to_json
from clm.audit.leaf import json_of_values, leaf_of, values_of_json, values_of_line
from clm.audit.manifest import Manifest
from clm.audit.tree import HASH_OCTETS, TreeHasher, hashes_of, root_of
from clm.errors import ArchiveInvalid, NoteInvalid, RecordUnreadable
from clm.resources.seals import DATABASES, TABLES, ArchiveRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from clm.audit.checkpoint import Origin, Signer
    from clm.audit.leaf import Leaf
    from clm.audit.trust import Trust
    from clm.resources.seals import SealRow
    from clm.storage.ledger import Ledger

RECORDS = "records.jsonl.gz"
SEALS = "seals.jsonl.gz"
MANIFEST = "manifest.note"


@dataclass(frozen=True, slots=True)
class Archive:
    """A written archive that was read back."""

    folder: Path
    note: SignedNote
    manifest: Manifest

    def row(self, partition: str) -> ArchiveRow:
        """What the database records of it."""
        return ArchiveRow(
            month=self.manifest.month,
            partition=partition,
            records=self.manifest.records,
            key_id=self.note.key_id,
            manifest=str(self.note),
            location=str(self.folder.absolute()),
        )


def partition_of(ledger: Ledger, month: date) -> str:
    """Name of the partition that a month is in."""
    return f"{TABLES[ledger.ledger]}_{month:%Y_%m}"


async def write_archive(
    ledger: Ledger,
    month: date,
    folder: Path,
    *,
    signer: Signer,
    origin: Origin,
    trust: Trust,
    anchor: Checkpoint | None = None,
) -> Archive:
    """Archive a month below `folder`. `trust` is in the keys that its seals may be signed by, known from elsewhere.

    Raises ArchiveInvalid when the month is not over, when a record of it is not the one that was sealed or not sealed
    yet, or when what was written does not read back; FileExistsError when it is archived there.
    """
    if datetime(month.year, month.month, 1, tzinfo=UTC) >= datetime.now(UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    ):
        raise ArchiveInvalid(f"{month:%Y-%m} is not over")
    target = folder / f"{DATABASES[ledger.ledger]}-{month:%Y-%m}"
    if target.exists():
        raise FileExistsError(f"{target} exists")
    # Under its name there is only what was read back.
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if signer.spki not in trust.keys:
        raise ArchiveInvalid(f"the key that would sign the archive ({signer.key_id}) is not trusted")
    await _write(ledger, month, unfinished, signer=signer, origin=origin, trust=trust, anchor=anchor)
    read_archive(unfinished, keys=trust.keys)
    unfinished.rename(target)
    return read_archive(target, keys=trust.keys)


def read_archive(folder: Path, *, keys: Sequence[bytes]) -> Archive:
    """Prove an archive from its files alone. Raises ArchiveInvalid, which says what is wrong."""
    try:
        note = SignedNote.parse((folder / MANIFEST).read_text(encoding="utf-8"))
        note.verify(keys)
        manifest = Manifest.parse(note.text)
        _prove(folder, manifest, keys)
    except (NoteInvalid, RecordUnreadable, OSError, EOFError, ValueError) as error:
        raise ArchiveInvalid(f"{folder}: {error}") from None
    return Archive(folder, note, manifest)


async def _write(
    ledger: Ledger,
    month: date,
    target: Path,
    *,
    signer: Signer,
    origin: Origin,
    trust: Trust,
    anchor: Checkpoint | None,
) -> None:
    content, chain = _Content(), NoteChain(ledger, trust, origin, anchor)
    with _writing(target / RECORDS) as records, _writing(target / SEALS) as seals:
        for seal, batch in _batches(ledger, month):
            chain.prove(seal)
            content.add(seal, batch)
            seals.write(orjson.dumps(seal_to_json(seal)) + b"\n")
            for line, _ in batch:
                records.write(json_of_values(values_of_line(line)) + b"\n")
        chain.end()
        content.files = {RECORDS: records.sha256(), SEALS: seals.sha256()}
    note = await sign_note(content.manifest(origin, month).text(), signer)
    with (target / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(str(note))
        file.flush()
        os.fsync(file.fileno())


def _batches(ledger: Ledger, month: date) -> Iterator[tuple[SealRow, list[tuple[bytes, Leaf]]]]:
    """Yield the records of a month by the seals that cover them."""
    seal, batch = None, list[tuple[bytes, "Leaf"]]()
    for line in ledger.lines(month=month):
        leaf = leaf_of(values_of_line(line))
        if seal is None or leaf.epoch != seal.epoch or leaf.txid >= seal.to_xid:
            if seal is not None:
                yield seal, batch
            seal, batch = ledger.seal_of(epoch=leaf.epoch, txid=leaf.txid), []
            if seal is None:
                raise ArchiveInvalid(f"record {leaf.id} is not sealed yet")
        batch.append((line, leaf))
    if seal is not None:
        yield seal, batch


@dataclass(slots=True)
class _Content:
    """What has gone into an archive so far."""

    tree: TreeHasher = field(default_factory=TreeHasher)
    first: int = 0
    last: int = 0
    partial: dict[int, frozenset[int]] = field(default_factory=dict)
    witnesses: dict[int, frozenset[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def add(self, seal: SealRow, batch: Sequence[tuple[bytes, Leaf]]) -> None:
        """Take the records of one batch; each must stand in its seal."""
        places = {
            seal.leaves[at : at + HASH_OCTETS]: at // HASH_OCTETS for at in range(0, len(seal.leaves), HASH_OCTETS)
        }
        positions = set()
        for _, leaf in batch:
            if leaf.fault is not None or leaf.hash not in places:
                raise ArchiveInvalid(f"record {leaf.id} of batch {seal.batch} is not as it was sealed")
            positions.add(places[leaf.hash])
            self.tree.append(leaf.hash)
        told = _witnesses(leaf for _, leaf in batch)
        if told:
            self.witnesses[seal.batch] = told
        # Batches between that hold nothing of the month are named, too: all of the range would count as archived.
        for between in range(self.last + 1 if self.last else seal.batch, seal.batch):
            self.partial[between] = frozenset()
        if len(positions) != seal.records:
            self.partial[seal.batch] = frozenset(positions)
        self.first, self.last = self.first or seal.batch, seal.batch

    def manifest(self, origin: Origin, month: date) -> Manifest:
        """What is to be signed."""
        return Manifest(
            origin=origin,
            month=month,
            records=self.tree.size,
            root=self.tree.root(),
            first_batch=self.first,
            last_batch=self.last,
            partial=self.partial,
            witnesses=self.witnesses,
            files=self.files,
        )


def _witnesses(leaves: Iterable[Leaf]) -> frozenset[str]:
    return frozenset(leaf.witness for leaf in leaves if leaf.witness is not None)


def _prove(folder: Path, manifest: Manifest, keys: Sequence[bytes]) -> None:
    seals = iter(_lines(folder, SEALS, manifest))
    records = iter(_lines(folder, RECORDS, manifest))
    tree, batch, told = TreeHasher(), 0, dict[int, frozenset[str]]()
    held: Iterator[bytes] = iter(())
    for line in records:
        leaf = leaf_of(values_of_json(orjson.loads(line)))
        while (expected := next(held, None)) is None:
            seal = _proven_seal(next(seals, b""), keys, manifest)
            batch, held = seal.batch, _held(seal, manifest)
        if leaf.fault is not None or leaf.hash != expected:
            raise ArchiveInvalid(f"record {leaf.id} is not as it was sealed in batch {batch}")
        tree.append(leaf.hash)
        if leaf.witness is not None:
            told[batch] = told.get(batch, frozenset()) | {leaf.witness}
    if next(held, None) is not None or next(seals, None) is not None:
        raise ArchiveInvalid("records are missing")
    if (tree.size, tree.root(), told) != (manifest.records, manifest.root, manifest.witnesses):
        raise ArchiveInvalid("the records are not those of the manifest")


def _held(seal: SealRow, manifest: Manifest) -> Iterator[bytes]:
    """Hashes of the records of a batch that have to be in the archive."""
    for position in range(seal.records):
        if manifest.holds(seal.batch, position):
            yield seal.leaves[position * HASH_OCTETS : (position + 1) * HASH_OCTETS]


def _proven_seal(line: bytes, keys: Sequence[bytes], manifest: Manifest) -> SealRow:
    if not line:
        raise ArchiveInvalid("a seal is missing")
    seal = seal_from_json(orjson.loads(line))
    note = SignedNote.parse(seal.note)
    note.verify(keys)
    checkpoint = Checkpoint.parse(note.text)
    leaves = hashes_of(seal.leaves)
    same = (checkpoint.origin, checkpoint.batch, checkpoint.records) == (manifest.origin, seal.batch, len(leaves))
    if not same or root_of(leaves) != checkpoint.root:
        raise ArchiveInvalid(f"the seal of batch {seal.batch} is not genuine")
    return seal


def _lines(folder: Path, name: str, manifest: Manifest) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with gzip.open(folder / name, "rb") as file:
        for line in file:
            digest.update(line)
            yield line
    if digest.hexdigest() != manifest.files.get(name):
        raise ArchiveInvalid(f"{name} is not the file of the manifest")


class _Writing:
    """A gzipped file whose content is hashed as it is written."""

    def __init__(self, raw: BinaryIO) -> None:
        # Without name and time: the same records give the same file.
        self._file = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)
        self._raw = raw
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add data."""
        self._digest.update(data)
        self._file.write(data)

    def sha256(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Bring it to the disk."""
        self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()


def _writing(path: Path) -> _Writing:
    return _Writing(path.open("xb"))
