"""Which CRLs a CA has, and which of them are due: pure comparisons."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.pki.crl import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from clm.lifecycle.revoked_entries import Part
    from clm.pki.profile import Issuer
    from clm.storage.core.crls import CrlState, IssuerRow

_FIRST, _SPREAD = 0.40, 0.08
"""The part of its life after which a CRL is replaced at the earliest, and how far that is spread: below half."""

States = dict["Part", "CrlState"]


@dataclass(frozen=True, slots=True)
class PublishingCa:
    """A CA that publishes: what the responder knows of it, and what it signs with."""

    row: IssuerRow
    issuer: Issuer


def current_parts(row: IssuerRow) -> list[Part]:
    """CRLs that new certificates may name, the complete one first."""
    if not row.crl_enabled:
        return []
    return [COMPLETE, *((row.crl_shards, shard) for shard in range(row.crl_shards) if row.crl_shards > 1)]


def wanted_parts(row: IssuerRow, states: Mapping[Part, CrlState], *, now: datetime) -> list[Part]:
    """CRLs that are published: the current ones, and former ones that a certificate may still name."""
    current = current_parts(row)
    former = [
        part
        for part, state in sorted(states.items())
        if part not in set(current) and (state.needed_until is None or state.needed_until > now)
    ]
    return current + former


def due_at(state: CrlState) -> datetime:
    """When a CRL is to be replaced: before half of its life is over, not all partitions in one moment."""
    share = zlib.crc32(f"{state.issuer_key_id}/{state.shards}/{state.shard}".encode()) / 2**32
    return state.this_update + (state.next_update - state.this_update) * (_FIRST + _SPREAD * share)


def due_parts(row: IssuerRow, states: Mapping[Part, CrlState], *, now: datetime) -> list[Part]:
    """CRLs that are missing, due by time, or of another lifetime than is asked for now."""
    current = set(current_parts(row))

    def is_due(part: Part) -> bool:
        state = states.get(part)
        if state is None:
            return True
        changed = part in current and state.next_update - state.this_update != row.crl_lifetime
        return changed or now >= due_at(state)

    return [part for part in wanted_parts(row, states, now=now) if is_due(part)]


def touched_parts(parts: Iterable[Part], serials: Iterable[int]) -> list[Part]:
    """Which of these CRLs list one of these serial numbers: the complete one does in any case."""
    every = list(parts)
    fallen = {(shards, serial % shards) for shards in {shards for shards, _ in every} for serial in serials}
    return [part for part in every if part in fallen]
