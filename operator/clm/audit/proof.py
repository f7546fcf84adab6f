"""The proof that one record is in the log: what a third party can check with nothing but the public key."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.audit.leaf import json_of_values, leaf_of, values_of_json, values_of_line
from clm.audit.tree import hashes_of, inclusion_path, root_by_path, root_of
from clm.errors import AuditFailed, NoteInvalid

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from clm.storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Proven:
    """A record that was shown to be in a sealed batch."""

    record: Mapping[str, Any]
    checkpoint: Checkpoint


def make_proof(ledger: Ledger, record_id: uuid.UUID) -> dict[str, Any]:
    """Make the proof of a record. Raises AuditFailed when there is no such record, or it is not sealed yet."""
    line = ledger.record(record_id)
    if line is None:
        raise AuditFailed(f"there is no record {record_id}")
    values = values_of_line(line)
    leaf = leaf_of(values)
    seal = ledger.seal_of(epoch=leaf.epoch, txid=leaf.txid)
    if seal is None:
        raise AuditFailed(f"record {record_id} is not sealed yet")
    leaves = hashes_of(seal.leaves)
    if leaf.fault is not None or leaf.hash not in leaves or root_of(leaves) != seal.root:
        raise AuditFailed(f"record {record_id} is not as it was sealed in batch {seal.batch}")
    index = leaves.index(leaf.hash)
    return {
        "record": orjson.loads(json_of_values(values)),
        "index": index,
        "size": len(leaves),
        "path": [base64.b64encode(node).decode() for node in inclusion_path(leaves, index)],
        "checkpoint": seal.note,
    }


def check_proof(proof: Mapping[str, Any], *, keys: Sequence[bytes]) -> Proven:
    """Check a proof, offline. Raises AuditFailed, which says what does not hold."""
    try:
        leaf = leaf_of(values_of_json(proof["record"]))
        path = [base64.b64decode(node, validate=True) for node in proof["path"]]
        index, size = int(proof["index"]), int(proof["size"])
        note = SignedNote.parse(proof["checkpoint"])
    except (KeyError, TypeError, ValueError) as error:
        raise NoteInvalid(f"not a proof: {error!r}") from None
    note.verify(keys)
    checkpoint = Checkpoint.parse(note.text)
    if leaf.fault is not None:
        raise AuditFailed(f"record {leaf.id}: {leaf.fault}")
    root = root_by_path(leaf.hash, index=index, size=size, path=path)
    if size != checkpoint.records or root != checkpoint.root:
        raise AuditFailed(f"record {leaf.id} is not in batch {checkpoint.batch}")
    return Proven(proof["record"], checkpoint)
