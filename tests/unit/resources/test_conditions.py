"""Conditions follow the API conventions and kstatus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from clm.resources.conditions import find, remove_condition, set_condition

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def ready(conditions: list[dict[str, Any]], status: Any = "True", **change: Any) -> list[dict[str, Any]]:
    """Set Ready."""
    values: dict[str, Any] = {"reason": "R", "message": "m", "observed_generation": 1, "now": NOW}
    return set_condition(conditions, type="Ready", status=status, **{**values, **change})


def test_a_new_condition() -> None:
    """It has every field that metav1.Condition requires."""
    assert ready([]) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "R",
            "message": "m",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-06-01T12:00:00Z",
        }
    ]


def test_the_time_is_that_of_the_last_change_of_status() -> None:
    """Another reason, message or generation does not move it; another status does."""
    same = ready(ready([]), reason="Other", message="n", observed_generation=2, now=LATER)
    assert same[0]["lastTransitionTime"] == "2026-06-01T12:00:00Z"
    assert (same[0]["reason"], same[0]["message"], same[0]["observedGeneration"]) == ("Other", "n", 2)
    assert ready(ready([]), "False", now=LATER)[0]["lastTransitionTime"] == "2026-06-01T13:00:00Z"


def test_setting_the_same_again_changes_nothing() -> None:
    """So that nothing is written."""
    assert ready(ready([]), now=LATER) == ready([])


def test_others_keep_their_place_and_the_input_is_left_alone() -> None:
    """Pure: the list that came in is not changed."""
    before = [{"type": "A"}, *ready([]), {"type": "B"}]
    copy = [dict(item) for item in before]
    after = ready(before, "False")
    assert [item["type"] for item in after] == ["A", "Ready", "B"]
    assert before == copy


def test_stalled_is_there_only_while_true() -> None:
    """The kstatus rule for abnormal-true conditions; it holds for Reconciling as well."""
    values: dict[str, Any] = {"reason": "R", "message": "m", "observed_generation": 1, "now": NOW}
    for kind in ("Stalled", "Reconciling"):
        present = set_condition(ready([]), type=kind, status="True", **values)
        assert find(present, kind) is not None
        assert set_condition(present, type=kind, status="False", **values) == ready([])


def test_remove_and_find() -> None:
    """Removing what is not there is no mistake."""
    assert remove_condition(ready([]), "Ready") == []
    assert remove_condition(ready([]), "Stalled") == ready([])
    assert find([], "Ready") is None
