"""When a certificate is due for renewal."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.lifecycle.renewal import RENEW_REQUESTED_AT, Renewal, is_answered, renew_requested_at, renewal_time
from clm.pki.tbs import BACKDATE
from clm.resources.certificate import CertificateSpec, parse_certificate

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
NOT_BEFORE = ISSUED - BACKDATE
NOT_AFTER = NOT_BEFORE + timedelta(days=90)
SECOND = timedelta(seconds=1)
UIDS = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)) for number in range(10_000)]
WINDOWS = st.builds(
    lambda minute, hour, day, hours: {"cron": f"{minute} {hour} {day}", "windowDuration": f"{hours}h"},
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["* * *", "* * SUN", "1 * *", "29 2 *", "1 1 *"]),
    st.integers(1, 400),
)


def _at(spec: CertificateSpec, uid: uuid.UUID, not_after: datetime, *, now: datetime | None = None) -> datetime:
    found = renewal_time(spec, uid=uid, not_before=NOT_BEFORE, not_after=not_after, now=now)
    assert found.at is not None
    return found.at


def _spec(**renewal: Any) -> CertificateSpec:
    return parse_certificate({"policyRef": {"name": "p"}, "secretName": "s", "commonName": "c", **renewal})


@pytest.mark.parametrize(
    ("renewal", "lifetime", "before_end"),
    [
        ({}, timedelta(days=90), timedelta(days=30)),
        ({"renewBefore": "240h"}, timedelta(days=90), timedelta(days=10)),
        ({"renewBeforePercentage": 50}, timedelta(days=90), timedelta(days=45)),
        # The issuing CA ends before it: what was asked for does not fit any more.
        ({"renewBefore": "240h"}, timedelta(days=9), timedelta(days=3)),
        # It fits into the lifetime and not into what is left of it at the issuance.
        ({"duration": "1h", "renewBefore": "59m54s"}, timedelta(hours=1), timedelta(minutes=20)),
        ({"duration": "1h", "renewBeforePercentage": 99}, timedelta(hours=1), timedelta(minutes=20)),
        # Never closer to the end than five minutes.
        ({"duration": "1h", "renewBeforePercentage": 1}, timedelta(hours=1), timedelta(minutes=5)),
    ],
)
def test_before_the_end(renewal: dict[str, Any], lifetime: timedelta, before_end: timedelta) -> None:
    """The time counts from the end of the certificate as it was issued; the jitter is at most a tenth, and earlier."""
    not_after = NOT_BEFORE + lifetime
    due = not_after - before_end
    times = [_at(_spec(**renewal), uid, not_after) for uid in UIDS[:200]]
    assert due - min((due - ISSUED) / 10, timedelta(days=7)) - SECOND <= min(times)
    assert max(times) <= due
    assert max(times) - min(times) > (due - ISSUED) / 12 or due - ISSUED > timedelta(days=70)


@given(
    lifetime_s=st.integers(1, 10**8),
    uid=st.uuids(),
    renewal=st.one_of(
        st.just({}),
        st.integers(1, 99).map(lambda percentage: {"renewBeforePercentage": percentage}),
        st.integers(300, 90 * 86400 - 1).map(lambda before_s: {"renewBefore": f"{before_s}s"}),
    ),
)
def test_never_at_the_issuance(lifetime_s: int, uid: uuid.UUID, renewal: dict[str, Any]) -> None:
    """No certificate is due when it is issued: there would be no end to issuing."""
    not_after = NOT_BEFORE + timedelta(seconds=lifetime_s)
    assert _at(_spec(**renewal), uid, not_after) >= ISSUED + timedelta(minutes=1)


def test_what_is_issued_together_is_not_due_together() -> None:
    """10,000 certificates of one minute fall due over six days, in any hour about as many as in any other."""
    hours = Counter(_at(_spec(), uid, NOT_AFTER).replace(minute=0, second=0) for uid in UIDS)
    assert len(hours) >= 143
    # 70 an hour on average; their spread is that of chance (a standard deviation of 8.3).
    assert max(hours.values()) < 105
    assert min(count for hour, count in hours.items() if hour not in (min(hours), max(hours))) > 40


def test_the_jitter_is_the_objects_own() -> None:
    """The same after a restart, and in the next life of the certificate."""
    assert _at(_spec(), UIDS[0], NOT_AFTER) == _at(_spec(), UIDS[0], NOT_AFTER)
    later = timedelta(days=1000)
    assert (
        renewal_time(_spec(), uid=UIDS[0], not_before=NOT_BEFORE + later, not_after=NOT_AFTER + later).at
        == _at(_spec(), UIDS[0], NOT_AFTER) + later
    )


def test_disabled_is_never_due() -> None:
    """Not by time, whatever renewBefore says."""
    spec = _spec(renewal={"policy": "Disabled"}, renewBefore="240h")
    assert renewal_time(spec, uid=UIDS[0], not_before=NOT_BEFORE, not_after=NOT_AFTER).at is None


def _windows(*windows: dict[str, str]) -> CertificateSpec:
    return _spec(renewal={"windows": list(windows)})


SUNDAYS = {"cron": "0 2 * * SUN", "windowDuration": "2h", "timezone": "Europe/Berlin"}


def test_a_renewal_falls_into_the_first_window_that_follows() -> None:
    """Spread over it, as what is due between two windows would all be due when the second opens."""
    times = [_at(_windows(SUNDAYS), uid, NOT_AFTER) for uid in UIDS[:500]]
    plain = [_at(_spec(), uid, NOT_AFTER) for uid in UIDS[:500]]
    local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in times]
    assert {(moment.weekday(), moment.hour) for moment in local} == {(6, 2), (6, 3)}
    assert all(
        before <= after < before + timedelta(days=7, hours=2) for before, after in zip(plain, times, strict=True)
    )
    assert len(set(times)) > 400


def test_a_window_that_is_open_changes_nothing() -> None:
    """What is due while it is open is renewed at its time, not at the next opening."""
    always = {"cron": "0 * * * *", "windowDuration": "1h"}
    for uid in UIDS[:50]:
        assert _at(_windows(SUNDAYS, always), uid, NOT_AFTER) == _at(_spec(), uid, NOT_AFTER)


def test_a_window_that_was_missed_is_followed_by_the_next() -> None:
    """An outage lasted as long as the window: the renewal waits for the next one, while there is one in time."""
    spec = _windows(SUNDAYS)
    first = _at(spec, UIDS[0], NOT_AFTER)
    assert _at(spec, UIDS[0], NOT_AFTER, now=first + timedelta(seconds=1)) <= first + timedelta(seconds=1)
    closed = first + timedelta(hours=3)
    following = _at(spec, UIDS[0], NOT_AFTER, now=closed)
    assert timedelta(days=6) < following - first < timedelta(days=8)
    last = NOT_AFTER - timedelta(days=1, hours=1)
    late = renewal_time(spec, uid=UIDS[0], not_before=NOT_BEFORE, not_after=NOT_AFTER, now=last)
    assert late == Renewal(last, window_missed=True)


@pytest.mark.parametrize(
    "window",
    [
        {"cron": "0 2 1 7 *", "windowDuration": "2h"},
        # It opens ten hours before the end: too late to rely on it.
        {"cron": "0 13 31 3 *", "windowDuration": "9h"},
    ],
)
def test_where_no_window_opens_in_time_the_certificate_is_renewed_all_the_same(window: dict[str, str]) -> None:
    """At the time that renewBefore says, and it is told."""
    due = _at(_spec(), UIDS[0], NOT_AFTER)
    found = renewal_time(_windows(window), uid=UIDS[0], not_before=NOT_BEFORE, not_after=NOT_AFTER)
    assert found == Renewal(due, window_missed=True)


@given(uid=st.uuids(), lifetime_s=st.integers(3600, 10**8), late_s=st.integers(0, 10**8), window=WINDOWS)
def test_windows_cost_no_certificate(uid: uuid.UUID, lifetime_s: int, late_s: int, window: dict[str, str]) -> None:
    """Law: whatever the window, the renewal is due before the certificate ends, or at once where time has passed."""
    not_after = NOT_BEFORE + timedelta(seconds=lifetime_s)
    now = ISSUED + timedelta(seconds=late_s)
    plain = _at(_spec(), uid, not_after)
    placed = _at(_windows(window), uid, not_after, now=now)
    assert plain <= placed
    assert placed < not_after or placed <= max(now, plain)


@pytest.mark.parametrize(
    ("annotation", "answered"),
    [
        ("2025-12-31T23:59:59Z", True),
        ("2026-01-01T00:00:00.9Z", True),
        ("2026-01-01T00:00:01Z", False),
        ("2026-01-01T02:00:00+01:00", False),
    ],
)
def test_a_request_is_answered_once(annotation: str, *, answered: bool) -> None:
    """By a certificate that was issued in the second of the request or later; that it is backdated makes no odds."""
    asked = renew_requested_at({"annotations": {RENEW_REQUESTED_AT: annotation}})
    assert asked is not None
    assert is_answered(asked, not_before=NOT_BEFORE) is answered


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {RENEW_REQUESTED_AT: "soon"}}])
def test_no_request(metadata: dict[str, Any]) -> None:
    """An annotation that is missing or cannot be read asks for nothing."""
    assert renew_requested_at(metadata) is None
