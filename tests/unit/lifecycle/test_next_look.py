"""When an object is looked at for its next certificate, where nothing, a failure or a limit keeps it waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from clm.lifecycle.next_look import renewal_at
from clm.lifecycle.renewal import RENEW_REQUESTED_AT
from clm.pki.tbs import BACKDATE
from clm.resources.status import CertificateStatus

if TYPE_CHECKING:
    from clm.resources.status import HoldKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
STATUS = CertificateStatus(
    not_before=NOW - BACKDATE,
    not_after=NOW + 90 * DAY,
    renewal_time=NOW + 60 * DAY,
    hold_generation=1,
    last_failure_time=NOW,
)


def _days(
    hold: HoldKind | None, next_attempt: float | None, *, asked: float | None = None, renewal: float | None = 60
) -> float | None:
    """Days until the look, of a certificate of 90 days that was issued now."""
    status = replace(
        STATUS,
        hold=hold,
        next_attempt_time=NOW + next_attempt * DAY if next_attempt is not None else None,
        renewal_time=NOW + renewal * DAY if renewal is not None else None,
    )
    annotations = {RENEW_REQUESTED_AT: (NOW + asked * DAY).isoformat()} if asked is not None else {}
    found = renewal_at({"generation": 1, "annotations": annotations}, status)
    return (found - NOW.timestamp()) / DAY.total_seconds() if found is not None else None


@pytest.mark.parametrize(
    ("hold", "next_attempt", "asked", "looked_at"),
    [
        (None, None, None, 60),
        (None, None, 1, 1),
        (None, None, -1, 60),
        # Failures keep all of it waiting, but not beyond the end, and not from a new request on.
        ("Failed", 70, None, 70),
        ("Failed", 99, None, 90),
        ("Failed", 70, 1, 1),
        ("IssuanceSuspended", 5, 1, 5),
        # Who has asked has its turn; where nothing is granted it has none, and is looked at by its time as ever.
        ("QuotaExceeded", 5, 1, 5),
        ("QuotaExceeded", None, 1, 60),
        # A turn that is late puts no renewal off.
        ("QuotaExceeded", 75, 1, 60),
    ],
)
def test_when_an_object_is_looked_at(
    hold: HoldKind | None, next_attempt: float | None, asked: float | None, looked_at: float
) -> None:
    """By its time or because somebody asked, whichever is first and not kept waiting."""
    assert _days(hold, next_attempt, asked=asked) == looked_at


@pytest.mark.parametrize("hold", ["QuotaExceeded", "IssuanceSuspended"])
def test_a_request_that_is_withdrawn_waits_for_nothing(hold: HoldKind) -> None:
    """It is looked at at once, so that its status does not tell of it until the next renewal."""
    for next_attempt in (5, None):
        for asked in (None, -1):  # withdrawn, or answered
            looked_at = _days(hold, next_attempt, asked=asked)
            assert looked_at is not None
            assert looked_at <= 0


@pytest.mark.parametrize(("next_attempt", "looked_at"), [(20, 20), (75, 30)])
def test_haste_waits_for_a_quota_until_a_third_of_the_life_is_over(next_attempt: float, looked_at: float) -> None:
    """A spec that asks for its renewal after ten days of ninety takes its turn, but after thirty it need not."""
    assert _days("QuotaExceeded", next_attempt, renewal=10) == looked_at
    assert _days("QuotaExceeded", None, asked=1, renewal=10) == 30


def test_what_is_not_renewed_by_time_ends() -> None:
    """Then it is not Ready any more, whatever keeps a request waiting; and what says nothing is never looked at."""
    assert _days("QuotaExceeded", None, asked=1, renewal=None) == 90
    assert _days(None, None, renewal=None) == 90
    assert renewal_at({"generation": 1}, CertificateStatus()) is None
    assert renewal_at({"generation": 1}, CertificateStatus(hold="QuotaExceeded")) is None
