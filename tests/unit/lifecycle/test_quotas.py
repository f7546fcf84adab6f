"""Quotas: how a bucket fills, and who waits for how long."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.lifecycle.plan import Issue
from clm.lifecycle.quotas import QuotaLine, at_the_latest, quota_of
from clm.lifecycle.view import PolicyView
from clm.pki.tbs import BACKDATE
from clm.resources.policy import parse_policy
from clm.resources.quotas import Bucket, Quota
from clm.resources.records import Owner, Revision

if TYPE_CHECKING:
    from clm.lifecycle.holds import Hold
    from clm.resources.records import IssueReason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = uuid.UUID(int=1)


def _quota(at: datetime = NOW, *, per_hour: int = 60, may_overdraw: bool = False) -> Quota:
    return Quota(POLICY, "shop", per_hour, may_overdraw, at)


def _uid(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def _refused(line: QuotaLine, number: int, until: datetime | None, at: datetime = NOW) -> Hold:
    return line.refused(_quota(at), _uid(number), "internal", until=until)


def _policy(quota: dict[str, int]) -> PolicyView:
    spec = parse_policy({"issuer": {"selfSigned": {}}, "quota": quota})
    return PolicyView(name="internal", uid=str(POLICY), generation=1, spec=spec, problem=None)


def _revision(not_before: datetime, not_after: datetime) -> Revision:
    return Revision(
        id=_uid(1),
        owner=Owner(_uid(2), _uid(3), "shop", "web"),
        revision=1,
        state="issued",
        certificate_state="active",
        spec_hash=bytes(32),
        issuer_key_id=_uid(4),
        issuer_certificate_id=_uid(5),
        subject_key_id=None,
        private_key_id=_uid(6),
        key_algorithm="ECDSA-256",
        not_before=not_before,
        not_after=not_after,
    )


@given(
    per_hour=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 7200), st.booleans()), max_size=200),
)
def test_no_more_than_an_hours_issuances_in_an_hour(per_hour: int, steps: list[tuple[float, bool]]) -> None:
    """Law: whenever one is refused, the time that is told is the first at which it is not."""
    bucket, now = Bucket(float(per_hour), NOW), NOW
    for wait_s, overdraw in steps:
        now += timedelta(seconds=wait_s)
        bucket = bucket.refilled(per_hour, now)
        assert -per_hour <= bucket.tokens <= per_hour
        if overdraw or bucket.has_one():
            bucket = bucket.spent(per_hour)
            continue
        until = bucket.next_at(per_hour)
        assert until is not None
        assert until > now
        assert bucket.refilled(per_hour, until).has_one()
        assert not bucket.refilled(per_hour, until - (until - now) / 2).has_one() or until - now < timedelta(seconds=1)


def test_a_full_bucket_gives_what_it_says_and_then_one_at_a_time() -> None:
    """60 an hour: 60 at once, and one a minute from then on."""
    bucket = Bucket(60.0, NOW)
    for _ in range(60):
        assert bucket.has_one()
        bucket = bucket.spent(60)
    assert not bucket.has_one()
    assert bucket.next_at(60) == NOW + MINUTE
    assert bucket.next_at(60, before=9) == NOW + 10 * MINUTE
    assert bucket.next_at(0) is None


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Nor does it take anything."""
    bucket = Bucket(5.0, NOW)
    assert bucket.refilled(60, NOW - 10 * MINUTE) == bucket


@pytest.mark.parametrize(
    ("reason", "age", "overdraws"),
    [
        ("initial", timedelta(days=60), False),
        ("spec-changed", timedelta(days=60), False),
        ("manual", timedelta(days=60), False),
        ("renewal", timedelta(days=31), True),
        ("renewal", timedelta(days=29), False),
        ("renewal", timedelta(minutes=1), False),
        ("issuer-changed", timedelta(minutes=1), True),
    ],
)
def test_renewals_wait_for_nobody(reason: IssueReason, age: timedelta, *, overdraws: bool) -> None:
    """A quota costs nobody a certificate that stands; what somebody asks for waits, and so does a spec's haste."""
    begins = NOW - age - BACKDATE
    replaced = _revision(begins, NOW - age + timedelta(days=90))
    step = Issue(reason, 2, replaced)
    quota = quota_of(_policy({"issuancesPerHour": 5}), "shop", step, now=NOW)
    assert quota == Quota(POLICY, "shop", 5, overdraws, NOW)
    assert quota_of(_policy({}), "shop", step, now=NOW) is None


def test_those_who_wait_are_given_times_of_their_own() -> None:
    """One token's time apart, whatever the database says to each: they do not all ask for the same one."""
    line = QuotaLine()
    assert line.waits(_quota(), _uid(0), "internal") is None
    told = [_refused(line, number, NOW + MINUTE) for number in range(3)]
    assert [hold.until for hold in told] == [NOW + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE]
    assert told[0].message == (
        "Policy internal grants namespace shop 60 issuances an hour, and they are used up: it is this object's turn at"
        " 2026-06-01T12:01:00Z"
    )
    # Who comes now stands behind them, and the database is not asked.
    newcomer = line.waits(_quota(), _uid(9), "internal")
    assert newcomer is not None
    assert newcomer.until == NOW + 4 * MINUTE
    # Whoever looks early has the same place; at its time it may ask.
    again = line.waits(_quota(NOW + MINUTE / 2), _uid(1), "internal")
    assert again is not None
    assert again.until == NOW + 2 * MINUTE
    assert line.waits(_quota(NOW + MINUTE), _uid(0), "internal") is None
    assert line.waits(_quota(may_overdraw=True), _uid(9), "internal") is None


def test_a_line_that_was_served_is_gone() -> None:
    """And a Policy that grants more has a line of its own."""
    line = QuotaLine()
    for number in range(2):
        _refused(line, number, NOW + MINUTE)
    assert line.waits(_quota(per_hour=120), _uid(5), "internal") is None
    for number in range(2):
        line.served(_quota(), _uid(number))
    assert line.waits(_quota(), _uid(5), "internal") is None


def test_who_never_came_is_forgotten() -> None:
    """Who lets its time pass, and asks for nothing any more, keeps no memory."""
    line = QuotaLine()
    for number in range(2):
        _refused(line, number, NOW + MINUTE)
    line.served(_quota(NOW + 3 * 60 * MINUTE), _uid(0))
    assert line.waits(_quota(NOW), _uid(5), "internal") is None


def test_who_was_deleted_keeps_no_place() -> None:
    """Whoever comes then stands behind those who are left, and not behind a thousand who are gone."""
    line = QuotaLine()
    for number in range(1000):
        _refused(line, number, NOW + MINUTE)
    for number in range(1, 1000):
        line.gone(_uid(number))
    newcomer = line.waits(_quota(), _uid(5000), "internal")
    assert newcomer is not None
    assert newcomer.until == NOW + 2 * MINUTE
    line.gone(_uid(0))
    line.gone(_uid(5000))
    assert line.waits(_quota(), _uid(6000), "internal") is None


def test_a_quota_of_nothing() -> None:
    """It waits for a change of the Policy, not for a time."""
    hold = QuotaLine().waits(_quota(per_hour=0), _uid(1), "internal")
    assert hold is not None
    assert hold.until is None
    assert "grants namespace shop nothing" in hold.message
    assert hold == _refused(QuotaLine(), 1, None), "the database, where it is asked, says the same"
    assert QuotaLine().waits(_quota(per_hour=0, may_overdraw=True), _uid(1), "internal") is None
    # Who stood in line for more gives its place up.
    line = QuotaLine()
    _refused(line, 1, NOW + MINUTE)
    line.waits(_quota(per_hour=0), _uid(1), "internal")
    assert line.waits(_quota(), _uid(2), "internal") is None


def test_after_a_restart_everybody_has_the_place_that_is_told() -> None:
    """Whoever is looked at first: no status changes, the database is not asked, and who is new stands behind them."""
    before, after = QuotaLine(), QuotaLine()
    told = [_refused(before, number, NOW + MINUTE) for number in range(3)]
    for number in (2, 0, 1):
        assert after.waits(_quota(), _uid(number), "internal", told=told[number]) == told[number]
    newcomer = after.waits(_quota(), _uid(9), "internal")
    assert newcomer is not None
    assert newcomer.until == NOW + 4 * MINUTE
    # At its time it asks, here as there.
    assert after.waits(_quota(NOW + MINUTE), _uid(0), "internal", told=told[0]) is None


def test_a_place_for_another_quota_is_none() -> None:
    """The Policy grants more, or nothing, or it is another one: the database says what that is worth."""
    before = QuotaLine()
    told = _refused(before, 1, NOW + MINUTE)
    for quota, policy in ((_quota(per_hour=120), "internal"), (_quota(), "other")):
        assert QuotaLine().waits(quota, _uid(1), policy, told=told) is None
    # Nor is it one for a Policy of that name that was made anew: who stands in line knows for which it stands.
    anew = _quota()._replace(policy_uid=uuid.UUID(int=7))
    assert before.waits(anew, _uid(1), "internal", told=told) is None
    assert before.waits(_quota(), _uid(2), "internal") is None, "it left the line that it stood in"


def test_a_status_tells_whole_seconds_that_are_not_too_early() -> None:
    """Who comes at the time that it was told is not sent away for half a second."""
    line = QuotaLine()
    hold = _refused(line, 1, NOW + timedelta(seconds=1.5))
    assert hold.until == NOW + timedelta(seconds=2)
    assert line.waits(_quota(NOW + timedelta(seconds=2)), _uid(1), "internal") is None


def test_a_hasty_renewal_waits_until_it_need_not() -> None:
    """Its status tells the third of its life, where its turn would be later, or never come."""
    step = Issue("renewal", 2, _revision(NOW - BACKDATE, NOW + timedelta(days=90)))
    never, late, soon = (
        _refused(QuotaLine(), 1, until) for until in (None, NOW + timedelta(days=40), NOW + timedelta(days=20))
    )
    for hold in (never, late):
        latest = at_the_latest(hold, step)
        assert latest.until == NOW + timedelta(days=30)
        assert "2026-07-01T12:00:00Z" in latest.message
    assert at_the_latest(soon, step) == soon
    assert at_the_latest(never, step._replace(reason="manual")) == never


def test_a_line_that_nobody_comes_from_is_forgotten() -> None:
    """Its Policy grants another number now, or none: what is kept does not grow with each that there was."""
    line = QuotaLine()
    for per_hour in range(1, 500):
        line.refused(_quota(NOW + per_hour * 60 * MINUTE, per_hour=per_hour), _uid(per_hour), "internal", until=NOW)
    assert len(line._lines) <= 3
