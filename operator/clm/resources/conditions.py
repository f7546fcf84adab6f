"""Conditions of a status (`metav1.Condition`), kept the way kstatus reads them.

`Ready` is always there. `Reconciling` and `Stalled` are there only while they are true: Flux, `kubectl wait` and
cli-utils take their mere presence with status False for nothing, but people do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

ConditionStatus = Literal["True", "False", "Unknown"]
Condition = dict[str, Any]

ONLY_WHILE_TRUE = frozenset({"Reconciling", "Stalled"})


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """Return the condition of that type; None when it is not there."""
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def set_condition(
    conditions: Iterable[Mapping[str, Any]],
    *,
    type: str,  # noqa: A002 - the field's name
    status: ConditionStatus,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> list[Condition]:
    """Return the list with this condition in it, in its old place or at the end.

    `lastTransitionTime` changes only with `status`. `now` must be in UTC. Conditions that are to be there only while
    true are taken out by any other status.
    """
    present = [dict(condition) for condition in conditions]
    if type in ONLY_WHILE_TRUE and status != "True":
        return remove_condition(present, type)
    old = find(present, type)
    since = old.get("lastTransitionTime") if old is not None and old.get("status") == status else None
    condition = {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": observed_generation,
        "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if old is None:
        return [*present, condition]
    return [condition if item is old else item for item in present]


def remove_condition(conditions: Iterable[Mapping[str, Any]], kind: str) -> list[Condition]:
    """Return the list without the condition of that type."""
    return [dict(condition) for condition in conditions if condition.get("type") != kind]
