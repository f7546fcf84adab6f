"""Publishes the CRLs of one CA.

1. Read what is new: revocations that no CRL lists yet. After a start, or when somebody else has published, all of them.
2. Build each CRL that is due, lint it, have the token sign those exact bytes, verify.
3. Put it in the place of the one before it, with its audit record (one commit in clm_core_db).
4. Mark the revocations as published, in clm_secure_db.

Every step may be the last before a crash, and all of it may be repeated: a revocation that is not marked is published
once more. A CRL never replaces one that the entries in memory may lack something of: its number is compared and set.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.errors import CrlOvertaken, KeyNotActive, LintFailed
from clm.hsm.pair import half_of
from clm.hsm.signing import sign
from clm.lifecycle.crl_schedule import due_parts, touched_parts, wanted_parts
from clm.lifecycle.revoked_entries import RevokedEntries
from clm.pki.algorithms import signature_hash
from clm.pki.assemble import assemble_crl, verify_signature
from clm.pki.crl import CrlPlan, build_crl, next_number
from clm.pki.crl_lint import lint_crl
from clm.pki.serial import serial_from_bytes
from clm.pki.urls import crl_url
from clm.resources.audit import AuditRecord
from clm.storage.core.crls import CrlState, NewCrl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.crl_schedule import PublishingCa, States
    from clm.lifecycle.revoked_entries import Part
    from clm.pki.crl import CrlDraft
    from clm.pki.tbs import ThrowawayKeys
    from clm.storage.core.crls import CrlStore
    from clm.storage.secure.revoked import RevokedRow, RevokedStore

_NIL = uuid.UUID(int=0)
_MOST_ENTRIES = 1_000_000
"""Entries of all CAs that are kept in memory, 300 MB: those of the CA that published last always are."""

MOST_AT_ONCE = 32
"""CRLs due by time that are published before other CAs get their turn."""


@dataclass(slots=True)
class Published:
    """What one round has published of a CA. `oldest` is when the first of the revocations was recorded."""

    count: int = 0
    revocations: int = 0
    oldest: datetime | None = None
    states: States = field(default_factory=dict)


class CrlPublisher:
    """Publishes CRLs. `boundary` is for the crash tests."""

    def __init__(
        self,
        *,
        token: Token,
        revoked: RevokedStore,
        store: CrlStore,
        throwaway: ThrowawayKeys,
        boundary: Boundary,
        hsm_deadline_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._token = token
        self._revoked = revoked
        self._store = store
        self._throwaway = throwaway
        self._boundary = boundary
        self._hsm_deadline_s = hsm_deadline_s
        self._clock = clock
        self._known: dict[uuid.UUID, RevokedEntries] = {}

    async def publish(self, ca: PublishingCa, *, anew: bool = False) -> Published:
        """Publish what is due of one CA, or with `anew` all of it. Its `states` are its CRLs as they stand then.

        Raises KeyNotActive when its key must not sign, LintFailed, CrlOvertaken when somebody else published meanwhile,
        SignatureInvalid, KeyMissing, HsmUnavailable, DatabaseUnavailable. What was published by then stays.
        """
        await self._require_active(ca)
        key_id = ca.row.issuer_key_id
        states = {(state.shards, state.shard): state for state in await self._store.states(key_id)}
        entries = await self._entries(ca, states)
        new = await self._read_new(ca, entries)
        wanted = wanted_parts(ca.row, states, now=self._clock())
        serials = {serial_from_bytes(row.serial_number) for row in new}
        touched = wanted if anew else touched_parts(wanted, serials)
        later = [part for part in due_parts(ca.row, states, now=self._clock()) if part not in set(touched)]
        done = Published(
            states=states, revocations=len(new), oldest=min((row.recorded_at for row in new), default=None)
        )
        try:
            # The partitions first: who reads the complete CRL is told last, and only of what all others tell, too.
            for part in [*reversed(touched), *later[:MOST_AT_ONCE]]:
                states[part] = await self._publish_one(ca, part, entries, states.get(part))
                done.count += 1
        except CrlOvertaken:
            self._known.pop(key_id, None)
            raise
        if new:
            listed = min((states[part].this_update for part in touched), default=self._clock())
            await self._revoked.mark(new, published_at=listed)
            self._boundary("crl.marked")
        self._trim(key_id, entries, states)
        return done

    async def _require_active(self, ca: PublishingCa) -> None:
        key = (await self._revoked.keys([ca.row.issuer_key_id])).get(ca.row.issuer_key_id)
        if key is None or key.state != "active":
            state = "not this cluster's" if key is None else f"{key.state}: {key.state_reason or 'no reason given'}"
            raise KeyNotActive(f"the key of {ca.row.name} is {state}")

    async def _entries(self, ca: PublishingCa, states: Mapping[Part, CrlState]) -> RevokedEntries:
        """Entries as they were when the CRLs that stand were made; all of them are read where that is not known."""
        key_id = ca.row.issuer_key_id
        standing = {part: state.crl_number for part, state in states.items()}
        known = self._known.get(key_id)
        if known is not None and known.numbers == standing:
            return known
        entries = RevokedEntries()
        after = b""
        # What expired before every CRL that stands was on one that was later than its end, and is on none any more.
        since = min((state.this_update for state in states.values()), default=None)
        while page := await self._revoked.page(key_id, after=after, since=since):
            await asyncio.to_thread(entries.put, page, throwaway=self._throwaway)
            after = page[-1].serial_number
        entries.numbers = standing
        self._known[key_id] = entries
        return entries

    async def _read_new(self, ca: PublishingCa, entries: RevokedEntries) -> list[RevokedRow]:
        new: list[RevokedRow] = []
        after = _NIL
        while page := await self._revoked.unpublished(ca.row.issuer_key_id, after=after):
            await asyncio.to_thread(entries.put, page, throwaway=self._throwaway)
            new += page
            after = page[-1].id
        return new

    async def _publish_one(
        self, ca: PublishingCa, part: Part, entries: RevokedEntries, previous: CrlState | None
    ) -> CrlState:
        row, issuer = ca.row, ca.issuer
        plan = _plan(ca, part, previous, now=self._clock())
        draft = await asyncio.to_thread(self._build, plan, entries, previous)
        self._boundary("crl.built")
        hash_name = signature_hash(issuer.spec)
        signature = await sign(
            self._token,
            row.issuer_key_id,
            spec=issuer.spec,
            hash_name=hash_name,
            data=draft.tbs,
            is_recorded=half_of(issuer.public_key, issuer.spec),
            deadline_s=self._hsm_deadline_s,
        )
        self._boundary("crl.signed")
        crl, digest = await asyncio.to_thread(_assembled, draft.tbs, signature, ca)
        state = CrlState(
            issuer_key_id=row.issuer_key_id,
            shards=part[0],
            shard=part[1],
            crl_number=plan.number,
            this_update=plan.this_update,
            next_update=plan.next_update,
            entry_count=draft.count,
            needed_until=previous.needed_until if previous is not None else None,
        )
        expected = previous.crl_number if previous is not None else None
        new = NewCrl(state, row.organization_id, crl=crl, sha256=digest, expected=expected)
        if not await self._store.publish(new, _audit(ca, new)):
            raise CrlOvertaken(f"another controller has published a CRL of {row.name} meanwhile")
        self._boundary("crl.published")
        entries.numbers[part] = plan.number
        return state

    def _build(self, plan: CrlPlan, entries: RevokedEntries, previous: CrlState | None) -> CrlDraft:
        """Build and lint, in a thread: half a second for a million entries, and two for the lint."""
        part = (plan.shards, plan.shard)
        listed = entries.listed(part, previous=previous.this_update if previous is not None else None)
        draft = build_crl(plan, listed, throwaway=self._throwaway)
        number = previous.crl_number if previous is not None else None
        findings = lint_crl(draft, plan, previous=number, now=self._clock())
        if findings:
            raise LintFailed(findings)
        return draft

    def _trim(self, key_id: uuid.UUID, entries: RevokedEntries, states: States) -> None:
        """Keep memory within its bound: what expired before every CRL that stands, and CAs that published long ago."""
        if states:
            entries.forget(min(state.this_update for state in states.values()))
        self._known.pop(key_id, None)
        self._known[key_id] = entries  # the order is that of their last publication
        while len(self._known) > 1 and sum(map(len, self._known.values())) > _MOST_ENTRIES:
            del self._known[next(iter(self._known))]


def _plan(ca: PublishingCa, part: Part, previous: CrlState | None, *, now: datetime) -> CrlPlan:
    row, (shards, shard) = ca.row, part
    this_update = now.replace(microsecond=0)
    urls = [crl_url(base, row.issuer_key_id, shards=shards, shard=shard) for base in reversed(row.base_urls)]
    return CrlPlan(
        issuer=ca.issuer,
        number=next_number(previous.crl_number if previous is not None else None, now),
        this_update=this_update,
        next_update=this_update + row.crl_lifetime,
        shards=shards,
        shard=shard,
        urls=tuple(urls) if shards > 1 else (),
    )


def _assembled(tbs: bytes, signature: bytes, ca: PublishingCa) -> tuple[bytes, bytes]:
    hash_name = signature_hash(ca.issuer.spec)
    verify_signature(tbs, signature, public_key=ca.issuer.public_key, hash_name=hash_name)
    crl = assemble_crl(tbs, signature, spec=ca.issuer.spec)
    return crl, hashlib.sha256(crl).digest()


def _audit(ca: PublishingCa, crl: NewCrl) -> AuditRecord:
    state = crl.state
    return AuditRecord(
        organization_id=crl.organization_id,
        action="crl.publish",
        object_type="crl",
        object_id=f"{state.issuer_key_id}/{state.shards}/{state.shard}",
        details={
            "issuer": ca.row.name,
            "number": str(state.crl_number),
            "thisUpdate": state.this_update.isoformat(),
            "nextUpdate": state.next_update.isoformat(),
            "entries": state.entry_count,
            "sha256": crl.sha256.hex(),
        },
    )
