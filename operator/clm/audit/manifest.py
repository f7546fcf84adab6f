"""What is signed of an archive: a manifest, as a signed note.

    clm-audit/v1 6f1e...c2 clm_secure_db
    archive 2026-03
    records 10234
    root q83...=
    batches 17 944
    partial 944 0-411,415
    witness 801 secure_audit_log_2024_01/9f02...
    file records.jsonl.gz 5c0d...
    file seals.jsonl.gz 77ab...

All records of the batches first to last are in the archive, but of those named `partial` only the records at these
positions: the batch goes over the end of the month. `root` is over the records of the archive in their order (RFC 9162
2.1). `witness` names the batch and the content of a record that an older month was archived: when it has gone with this
archive, it still vouches for the older one. Files go by the SHA-256 of what they hold uncompressed.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from clm.audit.checkpoint import Origin
from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clm.audit.checkpoint import SignedNote


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive of one month holds."""

    origin: Origin
    month: date
    records: int
    root: bytes
    first_batch: int
    last_batch: int
    partial: Mapping[int, frozenset[int]] = field(default_factory=dict)
    witnesses: Mapping[int, frozenset[str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def holds(self, batch: int, position: int) -> bool:
        """Whether the record at that position of that batch is in the archive."""
        if not self.first_batch <= batch <= self.last_batch:
            return False
        return batch not in self.partial or position in self.partial[batch]

    def text(self) -> str:
        """What is signed."""
        lines = [
            str(self.origin),
            f"archive {self.month:%Y-%m}",
            f"records {self.records}",
            f"root {base64.b64encode(self.root).decode()}",
            f"batches {self.first_batch} {self.last_batch}",
            *(f"partial {batch} {_ranges(self.partial[batch])}" for batch in sorted(self.partial)),
            *(f"witness {batch} {what}" for batch in sorted(self.witnesses) for what in sorted(self.witnesses[batch])),
            *(f"file {name} {self.files[name]}" for name in sorted(self.files)),
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read what `text` writes, and nothing else. Raises NoteInvalid."""
        try:
            origin, archive, records, root, batches, *rest, end = text.split("\n")
            partial, files, witnesses = {}, {}, dict[int, frozenset[str]]()
            for line in rest:
                kind, name, value = line.split(" ")
                if kind == "partial":
                    partial[int(name)] = frozenset(_positions(value))
                elif kind == "witness":
                    witnesses[int(name)] = witnesses.get(int(name), frozenset()) | {value}
                else:
                    files[name] = value
            _, first, last = batches.split(" ")
            made = cls(
                origin=Origin.parse(origin),
                month=datetime.strptime(archive, "archive %Y-%m").replace(tzinfo=UTC).date(),
                records=int(records.removeprefix("records ")),
                root=base64.b64decode(root.removeprefix("root "), validate=True),
                first_batch=int(first),
                last_batch=int(last),
                partial=partial,
                witnesses=witnesses,
                files=files,
            )
        except ValueError as error:
            raise NoteInvalid(f"not a manifest: {error}") from None
        if end or made.text() != text:
            raise NoteInvalid("not a manifest as this version writes it")
        return made


def manifest_sha256(note: SignedNote) -> bytes:
    """What the database asks for before it drops what was archived."""
    return hashlib.sha256(str(note).encode()).digest()


def witness_of(partition: str, manifest: str) -> str:
    """What the record of an archive says of it: which partition, and the SHA-256 of the signed manifest."""
    return f"{partition}/{hashlib.sha256(manifest.encode()).hexdigest()}"


def _ranges(positions: Iterable[int]) -> str:
    """Write positions shortly.

    >>> _ranges({0, 1, 2, 5})
    '0-2,5'
    """
    spans: list[tuple[int, int]] = []
    for position in sorted(positions):
        if spans and spans[-1][1] == position - 1:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((position, position))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _positions(text: str) -> Iterable[int]:
    for span in text.split(",") if text else ():
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)
