"""States of keys (NIST SP 800-57 part 1): every step from one to another, and those that are refused."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from tests.sql import rows
from tests.sql.rows import insert, update

if TYPE_CHECKING:
    from tests.fix_postgres import DatabasePair

    Connection = psycopg.Connection[tuple[Any, ...]]

NOW = datetime.now(UTC)
STATES = ("generating", "active", "suspended", "deactivated", "compromised", "destroyed")
ALLOWED = {
    "generating": {"active", "destroyed"},
    "active": {"suspended", "deactivated", "compromised"},
    "suspended": {"active", "deactivated", "compromised"},
    "deactivated": {"compromised", "destroyed"},
    "compromised": {"destroyed"},
    "destroyed": set[str](),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(STATES, 2)))
def test_every_step(secure: Connection, before: str, after: str) -> None:
    """A step that is not allowed is refused with the names of both states."""
    key = insert(secure, "encryption_keys", rows.key(state=before, destroyed_at=NOW))
    if after in ALLOWED[before]:
        update(secure, "encryption_keys", key, state=after)
    else:
        with pytest.raises(pg.CheckViolation, match=f"a key that is {before} cannot become {after}") as caught:
            update(secure, "encryption_keys", key, state=after)
        assert (caught.value.diag.table_name, caught.value.diag.column_name) == ("encryption_keys", "state")


@pytest.mark.parametrize("state", STATES)
def test_staying_is_no_step(secure: Connection, state: str) -> None:
    """A key may be written again in the state that it is in."""
    key = insert(secure, "encryption_keys", rows.key(state=state, destroyed_at=NOW))
    update(secure, "encryption_keys", key, state=state, state_reason="looked at")


def test_the_operator_is_bound_too(databases: DatabasePair) -> None:
    """Rights on the column are one thing, the order of its values another."""
    with psycopg.connect(databases.superuser_dsn("secure"), autocommit=True) as administrator:
        key = insert(administrator, "encryption_keys", rows.key())
    with psycopg.connect(databases.secure, autocommit=True) as operator:
        with pytest.raises(pg.CheckViolation, match="active cannot become destroyed"):
            update(operator, "encryption_keys", key, state="destroyed", destroyed_at=NOW)
        update(operator, "encryption_keys", key, state="deactivated", deactivated_at=NOW)
        update(operator, "encryption_keys", key, state="destroyed", destroyed_at=NOW)
