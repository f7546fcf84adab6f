"""Renewal windows: when one opens, and for how long, by a cron expression in a time zone (`spec.renewal.windows`).

Five fields as in crontab(5). Where the clock is put forward, what falls into the gap happens right after it; where it
is put back, it happens once. Only expressions whose minute or hour begins with `*` follow the clock itself, as with
Debian's cron.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.resources.reading import Reader

RenewalPolicy = Literal["RenewBefore", "Disabled"]

MIN_WINDOW = timedelta(minutes=1)
_POLICIES: tuple[RenewalPolicy, ...] = ("RenewBefore", "Disabled")
_VALUE = r"(?:[0-9]{1,2}|[A-Za-z]{3})"
_TERM = rf"(?:\*|\?|{_VALUE}(?:-{_VALUE})?)(?:/[0-9]{{1,2}})?"
_FIELD = rf"{_TERM}(?:,{_TERM})*"
_CRON = re.compile(rf"{_FIELD}(?: +{_FIELD}){{4}}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
# Names that some systems have beside the IANA database's: they mean something else on each machine, or nothing.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_SOME_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_SLACK = timedelta(hours=3)
"""More than any clock was ever put back by: in an hour that comes twice, an opening may stand on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalWindow:
    """One recurring time in which a certificate may be renewed. The zone is an IANA name."""

    cron: str
    lasts: timedelta
    zone: str = "UTC"

    def opened_at(self, moment: datetime) -> datetime | None:
        """When the window opened that is open at `moment`; None when none is. In UTC."""
        local = (moment + _SLACK).astimezone(ZoneInfo(self.zone))
        openings = _in_utc(CronSim(self.cron, local, reverse=True))
        opening = next(dropwhile(lambda it: it > moment, openings), None)
        return opening if opening is not None and moment < opening + self.lasts else None

    def opens_at(self, moment: datetime) -> datetime | None:
        """When it opens next after `moment`; None when it does not within decades. In UTC."""
        openings = _in_utc(CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone))))
        return next(dropwhile(lambda it: it <= moment, openings), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalSpec:
    """Whether a certificate is renewed by time, and when that may happen; at any time without windows."""

    policy: RenewalPolicy = "RenewBefore"
    windows: tuple[RenewalWindow, ...] = ()


def read_renewal(reader: Reader) -> RenewalSpec:
    """Read `spec.renewal`; notes what is wrong with it by field."""
    policy = reader.choice("policy", _POLICIES, default="RenewBefore")
    windows = tuple(_window(window) for window in reader.children("windows"))
    if windows and policy == "Disabled":
        reader.problem("windows", "exclude policy Disabled, under which nothing is renewed by time; leave one out")
    return RenewalSpec(policy=policy, windows=tuple(window for window in windows if window is not None))


def _window(reader: Reader) -> RenewalWindow | None:
    cron, lasts = reader.required_text("cron"), reader.duration("windowDuration")
    if lasts is None and not reader.peek("windowDuration"):
        reader.problem("windowDuration", "is required")
    elif lasts is not None and lasts < MIN_WINDOW:
        reader.problem("windowDuration", "must be at least 1m")
    zone = reader.text("timezone") or "UTC"
    wrong_zone = _is_no_zone(zone)
    if wrong_zone:
        reader.problem("timezone", f'"{zone[:64]}" is no time zone of the IANA database, such as Europe/Berlin')
    wrong_cron = _is_no_cron(cron) if cron else None
    if wrong_cron is not None:
        reader.problem("cron", wrong_cron)
    if not cron or wrong_cron is not None or wrong_zone or lasts is None:
        return None
    return RenewalWindow(cron=_plain(cron), lasts=lasts, zone=zone)


def _is_no_cron(cron: str) -> str | None:
    """Why it is no cron expression of five fields, or none that anything ever matches."""
    if not _CRON.fullmatch(cron.strip()):
        return 'must be a cron expression of five fields, such as "0 2 * * SUN": minute, hour, day, month, weekday'
    try:
        first = next(CronSim(_plain(cron), _SOME_MOMENT), None)
    except CronSimError as error:
        return f"must be a cron expression of five fields: {str(error)[:1].lower()}{str(error)[1:]}"
    return None if first is not None else "names a day that never comes"


def _plain(cron: str) -> str:
    """The expression with ? as *, which is what it means in the fields of days."""
    return " ".join(cron.split()).replace("?", "*")


def _is_no_zone(zone: str) -> bool:
    if not _ZONE.fullmatch(zone) or zone in _NO_ZONES:
        return True
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder is an OSError
        return True
    return False


def _in_utc(openings: Iterator[datetime]) -> Iterator[datetime]:
    return (opening.astimezone(UTC) for opening in openings)
