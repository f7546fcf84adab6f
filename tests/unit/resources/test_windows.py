"""Renewal windows: cron expressions, time zones, and the two nights a year that are not as long as the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.resources.certificate import parse_certificate
from clm.resources.windows import RenewalSpec, RenewalWindow

HOUR = timedelta(hours=1)
# In Berlin the clock goes forward at 01:00 UTC of 29 March 2026, and back at 01:00 UTC of 25 October.
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)


def _berlin(cron: str, lasts: timedelta = HOUR) -> RenewalWindow:
    return RenewalWindow(cron=cron, lasts=lasts, zone="Europe/Berlin")


def _read(**renewal: Any) -> RenewalSpec:
    spec = {"policyRef": {"name": "p"}, "secretName": "s", "commonName": "c", "renewal": renewal}
    return parse_certificate(spec).renewal


@pytest.mark.parametrize(
    ("cron", "after", "opens"),
    [
        # 02:30 does not exist in that night: it opens when the clock has jumped to 03:00.
        ("30 2 * * *", SPRING - 2 * HOUR, SPRING),
        ("30 3 * * *", SPRING - 2 * HOUR, SPRING + HOUR / 2),
        # 02:30 is there twice, and it opens once.
        ("30 2 * * *", AUTUMN - 2 * HOUR, AUTUMN - HOUR / 2),
        ("30 2 * * *", AUTUMN - HOUR / 2, AUTUMN - HOUR / 2 + 25 * HOUR),
        ("45 2 * * *", AUTUMN + HOUR / 2, AUTUMN - HOUR / 4 + 25 * HOUR),
        # Every hour is every hour.
        ("0 * * * *", SPRING - HOUR / 2, SPRING),
        ("0 * * * *", AUTUMN, AUTUMN + HOUR),
        # Noon stays noon, on both sides.
        ("0 12 * * *", SPRING - 24 * HOUR, SPRING - 14 * HOUR),
        ("0 12 * * *", SPRING, SPRING + 9 * HOUR),
        ("0 12 * * *", AUTUMN, AUTUMN + 10 * HOUR),
    ],
)
def test_opens_by_the_clock_on_the_wall(cron: str, after: datetime, opens: datetime) -> None:
    """In the zone that is named, whatever the clock does there."""
    assert _berlin(cron).opens_at(after) == opens


@pytest.mark.parametrize(
    ("cron", "moment", "opened"),
    [
        ("30 2 * * *", AUTUMN - HOUR / 2, AUTUMN - HOUR / 2),
        # An hour by the clock on the wall has passed, and none in fact.
        ("45 2 * * *", AUTUMN + HOUR / 2, AUTUMN - HOUR / 4),
        ("45 2 * * *", AUTUMN + HOUR, None),
        ("30 2 * * *", SPRING + HOUR / 2, SPRING),
        ("30 2 * * *", SPRING + HOUR, None),
        ("0 2 * * *", AUTUMN + HOUR / 2, None),
    ],
)
def test_stays_open_for_as_long_as_it_says(cron: str, moment: datetime, opened: datetime | None) -> None:
    """Measured as time passes, not by the clock on the wall; its end does not belong to it."""
    assert _berlin(cron).opened_at(moment) == opened


@given(
    cron=st.sampled_from(["30 2 * * *", "*/7 1-4 * * *", "0 0 1 * *", "15 3 * * SUN", "0 */5 * * 1-5", "5 4 29 2 *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    lasts=st.integers(1, 3000).map(lambda minutes: timedelta(minutes=minutes)),
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
)
def test_next_opening_is_open_and_none_is_between(cron: str, zone: str, lasts: timedelta, moment: datetime) -> None:
    """Law: what opens next is open then, and before it is not open but for an opening that came before."""
    window = RenewalWindow(cron=cron, lasts=lasts, zone=zone)
    opens = window.opens_at(moment)
    assert opens is not None
    assert opens > moment
    assert window.opened_at(opens) == opens
    earlier = window.opened_at(moment)
    assert window.opened_at(opens - timedelta(seconds=1)) in (None, earlier)


def test_what_is_read() -> None:
    """Zone UTC and policy RenewBefore by default; ? means *, names of days and months are names."""
    read = _read(windows=[{"cron": "0  2 ? jan-MAR sun,WED", "windowDuration": "90m"}])
    assert read == RenewalSpec(windows=(RenewalWindow(cron="0 2 * jan-MAR sun,WED", lasts=timedelta(minutes=90)),))
    assert _read() == RenewalSpec() == _read(policy="RenewBefore", windows=[])
    assert _read(policy="Disabled").policy == "Disabled"


@pytest.mark.parametrize(
    ("window", "field"),
    [
        ({"cron": "0 2 * *"}, "cron"),
        ({"cron": "0 0 2 * * *"}, "cron"),
        ({"cron": "@daily   "}, "cron"),
        ({"cron": "60 2 * * *"}, "cron"),
        ({"cron": "0 24 * * *"}, "cron"),
        ({"cron": "0 2 L * *"}, "cron"),
        ({"cron": "0 2 * * 1#2"}, "cron"),
        ({"cron": "0 2 31 2 *"}, "cron"),
        ({"cron": "0 2 * FEB-JAN *"}, "cron"),
        ({"cron": "0 2 * * MIT"}, "cron"),
        ({"cron": "*/0 2 * * *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"windowDuration": "59s"}, "windowDuration"),
        ({"windowDuration": "1 hour"}, "windowDuration"),
        ({"windowDuration": None}, "windowDuration"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timezone": "CET+1 summer"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
    ],
)
def test_what_is_wrong_is_named(window: dict[str, Any], field: str) -> None:
    """By its field, and its place in the list."""
    good = {"cron": "0 2 * * *", "windowDuration": "1h"}
    with pytest.raises(InvalidInput) as caught:
        _read(windows=[good, {**good, **window}])
    assert caught.value.field == f"spec.renewal.windows[1].{field}"


def test_windows_of_what_is_never_renewed() -> None:
    """They would be ignored, and nothing is."""
    with pytest.raises(InvalidInput) as caught:
        _read(policy="Disabled", windows=[{"cron": "0 2 * * *", "windowDuration": "1h"}])
    assert caught.value.field == "spec.renewal.windows"
