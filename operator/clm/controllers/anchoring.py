"""What the ConfigMap and the anchor file are to say of the audit logs, given what they say now.

What both keep of an audit log is only ever added to: a newer checkpoint, another public key, an anchor given up, a key
called compromised. An older checkpoint takes the place of a newer one only where a person gave that one up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.audit.anchor import checkpoint_of, end_name, gather_keys, given_up_of, is_lasting
from clm.audit.checkpoint import SignedNote, key_hash, public_pem
from clm.cluster.anchors import PUBLIC_KEY
from clm.errors import LogBehind, NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clm.audit.anchor import GivenUp
    from clm.audit.checkpoint import Checkpoint
    from clm.resources.seals import KnownKey


def newest_of(database: str, notes: Mapping[str, str | None], given_up: Sequence[GivenUp]) -> Checkpoint | None:
    """The newest checkpoint that anybody knows of a log, by where it is known from; not what was given up with another.

    Raises LogBehind where one cannot be read: what it said is then not known.
    """
    newest: Checkpoint | None = None
    for where, note in notes.items():
        if note is None or any(given.covers(note) for given in given_up):
            continue
        try:
            found = checkpoint_of(note)
        except NoteInvalid as error:
            raise LogBehind(f"{database}: what is anchored in {where} cannot be read: {error}") from None
        if newest is None or found.batch > newest.batch:
            newest = found
    return newest


def config_map(
    data: Mapping[str, str], kept: Mapping[str, str], newest: Mapping[str, str], keys: Sequence[KnownKey]
) -> dict[str, str]:
    """What of the ConfigMap is to be written. `kept` is what else is known of it, `newest` the notes to be anchored.

    A note whose public key nobody knows is not anchored: it could not be verified.
    """
    public = gather_keys([data.get(PUBLIC_KEY, ""), kept.get(PUBLIC_KEY, "")], [key.spki for key in keys])
    known = {key_hash(spki) for spki in public}
    wanted = {name: value for name, value in kept.items() if is_lasting(name) and name not in data}
    for database, note in newest.items():
        if SignedNote.parse(note).key_hash in known:
            wanted[database] = note
        for key in keys:
            name = end_name(database, key.spki)
            if key.compromised and name not in data:
                wanted.setdefault(name, wanted.get(database) or data.get(database, ""))
    if newest or data:
        wanted[PUBLIC_KEY] = "".join(map(public_pem, public))
    return {name: value for name, value in wanted.items() if data.get(name) != value}


def file(data: Mapping[str, str], kept: Mapping[str, str], databases: Sequence[str]) -> dict[str, str]:
    """What the file is to say: what it says, and what the ConfigMap says beyond that of these logs."""
    wanted = {**kept, **{name: value for name, value in data.items() if is_lasting(name)}}
    for database in databases:
        note = data.get(database)
        if note is not None and _follows(note, kept.get(database), given_up_of(data, database)):
            wanted[database] = note
    public = gather_keys([data.get(PUBLIC_KEY, ""), kept.get(PUBLIC_KEY, "")], [])
    return {**wanted, PUBLIC_KEY: "".join(map(public_pem, public))}


def _follows(note: str, kept: str | None, given_up: Sequence[GivenUp]) -> bool:
    if kept is None or any(given.covers(kept) for given in given_up):
        return True
    try:
        return checkpoint_of(note).batch >= checkpoint_of(kept).batch
    except NoteInvalid:
        return False
