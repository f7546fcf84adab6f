"""A Secret that somebody else keeps changing: how often it was repaired, when it is next, and who it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from clm.lifecycle.repair_pace import QUIET_S, delay_after_s
from clm.resources.conditions import remove_condition, set_condition
from clm.resources.status import parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping

CONDITION = "SecretContested"
CONTESTED_FROM = 3
"""Repairs within the hour that make it a contest: two edits by hand are none."""


@dataclass(frozen=True, slots=True)
class Contest:
    """A contest, by its last repair. `changed_by` is None where the condition already tells."""

    repairs: int
    repaired_at: datetime
    changed_by: str | None = None

    @property
    def ends_at(self) -> datetime:
        """Moment at which it is over, if nobody changes the Secret until then."""
        return self.repaired_at + timedelta(seconds=QUIET_S)

    @property
    def next_repair_at(self) -> datetime:
        """Moment from which another change will be repaired."""
        return self.repaired_at + timedelta(seconds=delay_after_s(self.repairs))


def contest_of(status: object) -> Contest | None:
    """Contest that a status tells of; None while there is none."""
    read = parse_status(status)
    if read.secret_repairs is None or read.secret_repaired_at is None:
        return None
    return Contest(read.secret_repairs, read.secret_repaired_at)


def next_contest(status: object, *, changed_by: str | None, repairs: int, now: datetime) -> Contest | None:
    """Contest as it stands after a look at the Secret; None when there is none, or none any more.

    `changed_by` tells whose change this look has undone, None when there was nothing to undo. `repairs` counts what was
    repaired since the Secret was last left alone for an hour.
    """
    if changed_by is not None and repairs >= CONTESTED_FROM:
        return Contest(repairs, now.replace(microsecond=0), changed_by)
    standing = contest_of(status)
    return standing if standing is not None and repairs and now < standing.ends_at else None


def contested_conditions(
    conditions: list[dict[str, Any]], contest: Contest | None, *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions with the one that tells of the contest, or without it when there is none."""
    if contest is None:
        return remove_condition(conditions, CONDITION)
    if contest.changed_by is None:
        return conditions
    return set_condition(
        conditions,
        type=CONDITION,
        status="True",
        reason="ChangedByOthers",
        message=(
            f"the Secret is changed again and again, last by {contest.changed_by}; it was to be put right"
            f" {contest.repairs} times within the hour, and will be again from {_time(contest.next_repair_at)} on;"
            " keep others from writing it, or choose another spec.secretName"
        ),
        observed_generation=generation,
        now=now,
    )


def contested_secret(status: Mapping[str, Any], contest: Contest | None) -> dict[str, object]:
    """Fields of `status.secret` that remember the contest over a restart; they go when it is over."""
    if contest is not None:
        return {"repairs": contest.repairs, "lastRepairTime": _time(contest.repaired_at)}
    standing = status.get("secret")
    named = standing.keys() if isinstance(standing, dict) else ()
    return {name: None for name in ("repairs", "lastRepairTime") if name in named}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
