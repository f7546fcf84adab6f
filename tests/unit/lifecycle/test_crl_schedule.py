"""Which CRLs a CA has, and when each is due."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.lifecycle.crl_schedule import current_parts, due_at, due_parts, touched_parts, wanted_parts
from clm.storage.core.crls import CrlState, IssuerRow

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROW = IssuerRow(
    issuer_key_id=uuid.UUID(int=1),
    organization_id=uuid.UUID(int=2),
    name="n/ca",
    subject=b"",
    spki=b"",
    certificate=b"",
    chain=[],
    base_urls=["http://pki.example.com"],
    crl_enabled=True,
    crl_lifetime=DAY,
    crl_shards=1,
    ocsp_enabled=True,
)


def row(**changes: Any) -> IssuerRow:
    """A CA that publishes one CRL a day."""
    return dataclasses.replace(ROW, **changes)


def state(shards: int = 1, shard: int = 0, **changes: Any) -> CrlState:
    """A CRL of now, good for a day."""
    made = CrlState(
        issuer_key_id=ROW.issuer_key_id,
        shards=shards,
        shard=shard,
        crl_number=1,
        this_update=NOW,
        next_update=NOW + DAY,
        entry_count=0,
        needed_until=None,
    )
    return dataclasses.replace(made, **changes)


def states(*found: CrlState) -> dict[tuple[int, int], CrlState]:
    """CRLs by their partition."""
    return {(each.shards, each.shard): each for each in found}


def test_current_crls() -> None:
    """The complete one always; partitions beside it; none where none are asked for."""
    assert current_parts(row()) == [(1, 0)]
    assert current_parts(row(crl_shards=3)) == [(1, 0), (3, 0), (3, 1), (3, 2)]
    assert current_parts(row(crl_shards=3, crl_enabled=False)) == []


@pytest.mark.parametrize(
    ("needed_until", "wanted"),
    [(None, True), (NOW + timedelta(seconds=1), True), (NOW, False), (NOW - DAY, False)],
)
def test_former_crls_are_wanted_until_nobody_needs_them(needed_until: datetime | None, *, wanted: bool) -> None:
    """Also where it is not known yet until when."""
    former = states(state(), state(4, 2, needed_until=needed_until))
    assert ((4, 2) in wanted_parts(row(), former, now=NOW)) is wanted


@given(st.integers(1, 256), st.integers(0, 255), st.timedeltas(timedelta(hours=1), timedelta(days=366)))
def test_due_before_half_of_its_life_and_not_all_at_once(shards: int, shard: int, lifetime: timedelta) -> None:
    """Between 40 and 48 hundredths, the same each time."""
    made = state(shards, shard, next_update=NOW + lifetime)
    assert NOW + lifetime * 0.4 <= due_at(made) <= NOW + lifetime * 0.48
    assert due_at(made) == due_at(made)


@pytest.mark.parametrize(
    ("known", "changes", "due"),
    [
        (states(), {}, [(1, 0)]),
        (states(state()), {}, []),
        (states(state(this_update=NOW - DAY / 2, next_update=NOW + DAY / 2)), {}, [(1, 0)]),
        (states(state()), {"crl_lifetime": DAY * 2}, [(1, 0)]),
        (states(state()), {"crl_shards": 2}, [(2, 0), (2, 1)]),
        (states(state()), {"crl_enabled": False}, []),
        (states(state(this_update=NOW - DAY / 2, next_update=NOW + DAY / 2)), {"crl_enabled": False}, [(1, 0)]),
        # A former scheme keeps its own lifetime.
        (states(state(), state(2, 1)), {"crl_lifetime": DAY}, []),
        (states(state(next_update=NOW + 2 * DAY), state(2, 1)), {"crl_lifetime": 2 * DAY}, []),
    ],
)
def test_what_is_due(
    known: dict[tuple[int, int], CrlState], changes: dict[str, Any], due: list[tuple[int, int]]
) -> None:
    """What is missing, what is old, what is of another lifetime."""
    assert due_parts(row(**changes), known, now=NOW) == due


@given(st.sets(st.integers(1, 2**159), max_size=20))
def test_a_revocation_touches_the_complete_crl_and_one_partition_of_each_scheme(serials: set[int]) -> None:
    """Every CRL that is to list one of them, and no other."""
    parts = [*current_parts(row(crl_shards=5)), *((3, shard) for shard in range(3))]
    touched = touched_parts(parts, serials)
    assert set(touched) == {(shards, serial % shards) for shards in (1, 3, 5) for serial in serials}
    assert len(touched) == len(set(touched))
