"""That somebody keeps changing a Secret is told with the writes that repair it, and taken back when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from clm.lifecycle.contest import (
    CONDITION,
    CONTESTED_FROM,
    Contest,
    contest_of,
    contested_conditions,
    contested_secret,
    next_contest,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OTHER = "reflector (Update at 2026-11-24T11:59:59Z)"


def _status(contest: Contest) -> dict[str, Any]:
    return {"secret": {"uid": "1", "resourceVersion": "2", **contested_secret({}, contest)}}


def test_the_status_remembers_what_it_was_told() -> None:
    """What is written is read again as the same contest."""
    contest = next_contest({}, changed_by=OTHER, repairs=CONTESTED_FROM, now=NOW)
    assert contest is not None
    read = contest_of(_status(contest))
    assert read == Contest(contest.repairs, contest.repaired_at)
    assert contest.next_repair_at == NOW + timedelta(seconds=1000)


def test_two_edits_are_no_contest() -> None:
    """Somebody who edits by hand, and tries once more, is not accused."""
    assert next_contest({}, changed_by=OTHER, repairs=CONTESTED_FROM - 1, now=NOW) is None


def test_it_stands_through_other_writes_and_ends_after_a_quiet_hour() -> None:
    """A renewal within the hour keeps the condition; the look at its end takes it away, and its fields."""
    contest = Contest(4, NOW, OTHER)
    status = _status(contest)
    conditions = contested_conditions([], contest, generation=3, now=NOW)
    later = next_contest(status, changed_by=None, repairs=4, now=NOW + timedelta(minutes=30))
    assert contested_conditions(conditions, later, generation=3, now=NOW) == conditions
    assert contested_secret(status, later) == {"repairs": 4, "lastRepairTime": "2026-11-24T12:00:00Z"}
    assert next_contest(status, changed_by=None, repairs=4, now=contest.ends_at) is None
    assert contested_conditions(conditions, None, generation=3, now=NOW) == []
    assert contested_secret(status, None) == {"repairs": None, "lastRepairTime": None}
    assert contested_secret({"secret": {"uid": "1"}}, None) == {}


def test_a_changed_spec_ends_it() -> None:
    """Who changes the object has looked at it: what was counted is forgotten, and so is the condition."""
    assert next_contest(_status(Contest(4, NOW)), changed_by=None, repairs=0, now=NOW) is None


def test_the_condition_says_who_how_often_and_when_it_is_repaired_next() -> None:
    """All that a person needs to find the other writer."""
    (condition,) = contested_conditions([], Contest(3, NOW, OTHER), generation=1, now=NOW)
    assert condition["type"] == CONDITION
    assert OTHER in condition["message"]
    assert "3 times" in condition["message"]
    assert "2026-11-24T12:16:40Z" in condition["message"]
