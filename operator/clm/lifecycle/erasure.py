"""Erases a person (GDPR article 17): their key is shredded, their row emptied, a tombstone says so.

1. The row in clm_core_db is held, and a legal hold refuses.
2. clm_secure_db, one commit: every key of the person is destroyed, the tombstone and an audit record are written.
3. clm_core_db, one commit: the row is emptied, what they could do ends, tombstone and audit record here as well.

A crash between 2 and 3 leaves a tombstone in clm_secure_db and a row that is not empty: erasing again, `replay`, and
the controller's daily round complete it. A backup from before the erasure brings the person back; the tombstones, which
are in both databases and in an exported file, have them erased again.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clm.errors import InvalidInput, UnderLegalHold
from clm.lifecycle.subjects import subject_key_id
from clm.resources.audit import AuditRecord
from clm.resources.pseudonyms import name_digest
from clm.resources.status import parse_time
from clm.storage.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clm.lifecycle.boundaries import Boundary
    from clm.storage.core.persons import Person, PersonStore
    from clm.storage.secure.subjects import SubjectStore

_FORMAT = "clm-erasure-tombstones/1"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did. `refused` are those under a legal hold that is younger than their tombstone."""

    erased: list[uuid.UUID] = field(default_factory=list)
    refused: list[uuid.UUID] = field(default_factory=list)


class Eraser:
    """Erases persons. `actor` is who asked, by a pseudonym; `boundary` is for the crash tests."""

    def __init__(
        self,
        *,
        persons: PersonStore,
        subjects: SubjectStore,
        boundary: Boundary,
        actor: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._persons = persons
        self._subjects = subjects
        self._boundary = boundary
        self._actor = actor
        self._clock = clock
        self._digests: dict[tuple[uuid.UUID, str], bytes] = {}

    async def find(self, who: str) -> Person:
        """Find a user by id or by name. Raises InvalidInput when there is none, or more than one."""
        found = await self._by_id(who) or await self._persons.by_name(who)
        if len(found) != 1:
            problem = (
                "there is no such user who is not erased" if not found else "several organizations have such a user"
            )
            raise InvalidInput("USER", f"{problem}; name one by id")
        return found[0]

    async def erase(self, person: Person, *, reason: str) -> Tombstone:
        """Erase a person. Safe to repeat. Raises UnderLegalHold, DatabaseUnavailable."""
        stones = {stone.subject_id: stone for stone in await self._all_tombstones()}
        stone = stones.get(person.id) or Tombstone(
            person.organization_id,
            person.id,
            self._clock(),
            reason,
            self._actor,
            await asyncio.to_thread(name_digest, person.organization_id, person.username),
        )
        await self._carry_out(stone, override_hold=lambda _: False)
        return stone

    async def replay(self, imported: Sequence[Tombstone] = ()) -> Replayed:
        """Erase again whom a restore has brought back, by the tombstones of either database and an exported file.

        A hold that stands on a row which nobody has touched since the erasure is older than it, and was lifted then.
        """
        stones = {stone.subject_id: stone for stone in (*imported, *await self._all_tombstones())}
        back = {person.id for person in await self._persons.standing(list(stones))}
        back |= await self._subjects.unshredded(list(stones))
        core = {stone.subject_id for stone in await self._persons.tombstones()}
        secure = {stone.subject_id for stone in await self._subjects.tombstones()}
        replayed = Replayed()
        for stone in stones.values():
            if stone.subject_id in back or stone.subject_id not in secure:
                await self._again(stone, replayed)
            elif stone.subject_id not in core:
                await self._persons.leave(stone)
        return replayed

    async def export(self) -> str:
        """All tombstones as a text that outlives both databases."""
        stones = sorted(await self._all_tombstones(), key=lambda stone: (stone.erased_at, stone.subject_id))
        entries = [
            {
                "organization": str(stone.organization_id),
                "subject": str(stone.subject_id),
                "erasedAt": stone.erased_at.isoformat(),
                "reason": stone.reason,
                "actor": stone.actor_id,
                "nameDigest": stone.name_digest.hex() if stone.name_digest is not None else None,
            }
            for stone in stones
        ]
        return json.dumps({"format": _FORMAT, "tombstones": entries}, indent=2) + "\n"

    async def _by_id(self, who: str) -> list[Person]:
        try:
            return await self._persons.standing([uuid.UUID(who)])
        except ValueError:
            return []

    async def _all_tombstones(self) -> list[Tombstone]:
        stones = {stone.subject_id: stone for stone in await self._persons.tombstones()}
        stones |= {stone.subject_id: stone for stone in await self._subjects.tombstones()}
        return list(stones.values())

    async def _again(self, stone: Tombstone, replayed: Replayed) -> None:
        try:
            await self._carry_out(stone, override_hold=lambda person: person.updated_at < stone.erased_at)
        except UnderLegalHold:
            replayed.refused.append(stone.subject_id)
        else:
            replayed.erased.append(stone.subject_id)

    async def _carry_out(self, stone: Tombstone, *, override_hold: Callable[[Person], bool]) -> None:
        async with self._persons.held(stone.subject_id) as held:
            person = held.person if held is not None else None
            override = person is None or override_hold(person)
            if person is not None and person.legal_hold and not override:
                raise UnderLegalHold(f"user {person.id} is under legal hold and is not erased")
            audit = _audit(stone, self._actor)
            shredded = await self._subjects.shred(
                stone,
                key_id=subject_key_id(stone.organization_id, stone.subject_id),
                names=(person.names if person is not None else []) or await self._names_of(stone),
                audit=audit,
                override_hold=override,
            )
            if not shredded:
                raise UnderLegalHold(f"the key of user {stone.subject_id} is under legal hold and is not shredded")
            self._boundary("erasure.shredded")
            if held is not None and held.person.status != "erased":
                await held.empty(stone, audit)
        if held is None:
            await self._persons.leave(stone)
        self._boundary("erasure.emptied")

    async def _names_of(self, stone: Tombstone) -> list[str]:
        """The login name of somebody whose row is empty, where clm_secure_db alone was restored and has it again."""
        if stone.name_digest is None:
            return []
        for name in await self._subjects.requesters(stone.organization_id):
            known = self._digests.get((stone.organization_id, name))
            if known is None:
                known = await asyncio.to_thread(name_digest, stone.organization_id, name)
                self._digests[stone.organization_id, name] = known
            if known == stone.name_digest:
                return [name]
        return []


def read_export(text: str) -> list[Tombstone]:
    """Read what `export` wrote. Raises InvalidInput."""
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            raise InvalidInput("--from", f"is not a file of {_FORMAT}")
        return [_stone(entry) for entry in document["tombstones"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("--from", f"cannot be read as exported tombstones: {error}") from None


def _stone(entry: dict[str, Any]) -> Tombstone:
    erased_at = parse_time(entry["erasedAt"])
    if erased_at is None:
        raise ValueError("erasedAt is no time")
    return Tombstone(
        uuid.UUID(entry["organization"]),
        uuid.UUID(entry["subject"]),
        erased_at,
        entry["reason"],
        entry["actor"],
        bytes.fromhex(entry["nameDigest"]) if entry.get("nameDigest") else None,
    )


def _audit(stone: Tombstone, actor: str) -> AuditRecord:
    return AuditRecord(
        organization_id=stone.organization_id,
        action="subject.erase",
        object_type="user",
        object_id=str(stone.subject_id),
        actor_type="user",
        actor_id=actor,
        reason=stone.reason,
        details={"erasedAt": stone.erased_at.isoformat()},
    )
