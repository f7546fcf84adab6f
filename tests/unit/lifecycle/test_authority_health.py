"""What is wrong with a CA, when it begins to be, and that saying so costs one write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clm.lifecycle.authority_health import (
    CONDITION,
    AuthorityState,
    CrlTimes,
    health_conditions,
    leaf_duration,
    problems,
    warns_at,
)
from clm.lifecycle.view import ClusterView, Key

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)
SOUND = AuthorityState(
    not_before=NOW - 365 * DAY, not_after=NOW + 3650 * DAY, leaf_duration=90 * DAY, key_problem=None, crls=None
)
CRL = CrlTimes(NOW - 12 * timedelta(hours=1), NOW + 12 * timedelta(hours=1))


def _reasons(state: AuthorityState, now: datetime = NOW) -> list[str]:
    return [problem.reason for problem in problems(state, now=now)]


def test_a_sound_ca() -> None:
    """Long-lived, its key at hand, its CRL fresh or none."""
    assert _reasons(SOUND) == []
    assert _reasons(replace(SOUND, crls=(CRL,))) == []


def test_the_end_is_near_when_a_leaf_would_get_less_than_half_of_its_lifetime() -> None:
    """90 days are asked for: 45 days before the CA's end it is told, not a second earlier."""
    end = SOUND.not_after
    assert warns_at(SOUND) == end - 45 * DAY
    assert _reasons(SOUND, end - 45 * DAY - timedelta(seconds=1)) == []
    assert _reasons(SOUND, end - 45 * DAY) == ["Expiring"]
    assert _reasons(SOUND, end) == ["Expired"]


def test_a_ca_that_lives_hardly_longer_than_its_leaves_is_not_always_near_its_end() -> None:
    """Its last third counts, when it should have been renewed."""
    short = replace(SOUND, not_before=NOW, not_after=NOW + 30 * DAY)
    assert _reasons(short, NOW + 19 * DAY) == []
    assert _reasons(short, NOW + 20 * DAY) == ["Expiring"]


@pytest.mark.parametrize(
    ("crls", "hours", "reason"),
    [
        ((), 0, "CrlMissing"),
        ((CRL,), 5, None),
        ((CRL,), 6, "CrlLate"),
        ((CRL,), 12, "CrlExpired"),
        ((CrlTimes(NOW, NOW + 9 * DAY), CRL), 12, "CrlExpired"),
    ],
)
def test_the_age_of_the_crl(crls: tuple[CrlTimes, ...], hours: int, reason: str | None) -> None:
    """It is replaced at half of its life; at three quarters it is late. The oldest partition counts."""
    assert _reasons(replace(SOUND, crls=crls), NOW + timedelta(hours=hours)) == ([reason] if reason else [])


def test_the_condition_names_the_worst_and_tells_all() -> None:
    """The key first: without it nothing else can be mended. What is said does not change as time goes by."""
    bad = replace(SOUND, key_problem="its key is suspended: lost card", crls=())
    (condition,) = health_conditions([], problems(bad, now=NOW), generation=2, now=NOW)
    assert (condition["type"], condition["status"], condition["reason"]) == (CONDITION, "False", "KeyNotUsable")
    assert "lost card" in condition["message"]
    assert "no CRL" in condition["message"]
    later = NOW + DAY
    assert health_conditions([condition], problems(bad, now=later), generation=2, now=later) == [condition]
    (mended,) = health_conditions([condition], (), generation=2, now=later)
    assert (mended["status"], mended["reason"]) == ("True", "Healthy")


def test_the_longest_of_its_policies_counts() -> None:
    """Where a Policy bounds nothing, leaves last for the default of 90 days."""
    view = ClusterView()
    ca = Key("pki", "ca")

    def put(name: str, longest: str | None, issuer: str = "ca") -> None:
        constraints = {} if longest is None else {"maxDuration": longest}
        spec = {"issuer": {"ca": {"namespace": "pki", "name": issuer}}, "constraints": constraints}
        view.put_policy({"metadata": {"name": name, "uid": name, "generation": 1}, "spec": spec})

    put("a", "24h")
    put("other", "8760h", issuer="another")
    assert leaf_duration(ca, view.policies()) == DAY
    put("b", None)
    assert leaf_duration(ca, view.policies()) == 90 * DAY
    assert leaf_duration(Key("pki", "none"), view.policies()) == 90 * DAY
