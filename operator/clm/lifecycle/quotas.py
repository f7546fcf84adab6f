"""Who waits for a Policy's quota, and for how long.

The tokens are in clm_secure_db, taken with the intent. Who found none there stands in line here: each is told a time of
its own, and asks again then, so that a thousand who wait do not ask for every single token. After a restart each has
the place that its status tells.

A renewal of what has stood for a third of its life never waits: it takes a token that is not there, and what is new
waits for longer. So a quota costs nobody a certificate that was granted once.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from clm.lifecycle.holds import Hold
from clm.lifecycle.renewal import used_from
from clm.lifecycle.status import time_text
from clm.resources.quotas import Quota

if TYPE_CHECKING:
    from datetime import datetime

    from clm.lifecycle.plan import Issue
    from clm.lifecycle.view import PolicyView
    from clm.resources.records import IssueReason, Revision

_OVERDRAWN: frozenset[IssueReason] = frozenset({"issuer-changed", "re-key"})
"""What no tenant asks for and no tenant can put off."""


def quota_of(policy: PolicyView, namespace: str, step: Issue, *, now: datetime) -> Quota | None:
    """What an issuance takes a token of; None where the Policy has no quota."""
    per_hour = policy.spec.issuances_per_hour if policy.spec is not None else None
    if per_hour is None:
        return None
    may_overdraw = step.reason in _OVERDRAWN or (step.reason == "renewal" and _is_used(step.replaces, now))
    return Quota(uuid.UUID(policy.uid), namespace, per_hour, may_overdraw, now)


def _is_used(replaced: Revision | None, now: datetime) -> bool:
    return replaced is None or now >= used_from(not_before=replaced.not_before, not_after=replaced.not_after)


def at_the_latest(hold: Hold, step: Issue) -> Hold:
    """What waits for a quota, but a renewal by its time no longer than until it need not wait."""
    if step.reason != "renewal" or step.replaces is None:
        return hold
    used = _whole(used_from(not_before=step.replaces.not_before, not_after=step.replaces.not_after))
    if hold.until is None:
        return hold._replace(until=used, message=f"{hold.message}; it is renewed all the same at {time_text(used)}")
    if hold.until <= used:
        return hold
    return hold._replace(until=used, message=hold.message.replace(time_text(hold.until), time_text(used)))


_GONE_AFTER = timedelta(hours=1)


class _LineKey(NamedTuple):
    policy_uid: uuid.UUID
    namespace: str
    per_hour: int


class _Line:
    """Times that objects were given. The last one is kept apart: a line may be long, and is only ever prolonged."""

    def __init__(self) -> None:
        self.times: dict[uuid.UUID, datetime] = {}
        self.last: datetime | None = None

    def free_at(self, quota: Quota) -> datetime:
        """The first time that nobody has been given yet."""
        if self.last is None or self.last < quota.at:
            return quota.at
        return self.last + timedelta(hours=1) / quota.per_hour

    def forget_before(self, moment: datetime) -> None:
        """Forget whose time passed before that and who did not come: their objects are gone, or ask for nothing."""
        for uid in [uid for uid, until in self.times.items() if until < moment]:
            del self.times[uid]

    def give(self, uid: uuid.UUID, until: datetime) -> None:
        self.times[uid] = until
        self.last = until if self.last is None else max(self.last, until)


class QuotaLine:
    """Objects that wait for a token, by Policy and namespace, and the time that each was given."""

    def __init__(self) -> None:
        self._lines: dict[_LineKey, _Line] = {}

    def waits(self, quota: Quota, uid: uuid.UUID, policy: str, *, told: Hold | None = None) -> Hold | None:
        """Tell whether an object has to wait, without asking the database; who is new stands behind the others.

        `told` is what its status tells: an earlier process may have given it a place that is still good.
        """
        if quota.may_overdraw:
            return None
        if quota.per_hour == 0:
            self.gone(uid)
            return self.refused(quota, uid, policy, until=None)
        line = self._lines.get(_key(quota)) or _Line()
        until = line.times.get(uid)
        if until is None:
            if told is not None and any(uid in other.times for other in self._lines.values()):
                self.gone(uid)  # it stood in line for another quota than the Policy grants now
                told = None
            until = _place(line, quota, policy, told)
            if until is not None:
                line = self._line(quota)
                line.give(uid, until)
        # When its time has come it asks the database.
        return _hold(quota, until, policy) if until is not None and until > quota.at else None

    def refused(self, quota: Quota, uid: uuid.UUID, policy: str, *, until: datetime | None) -> Hold:
        """Note that the database had no token for an object; `until` is when it may have one."""
        if until is None:
            why = f"Policy {policy} grants namespace {quota.namespace} nothing: its spec.quota.issuancesPerHour is 0"
            return Hold("QuotaExceeded", None, "", why)
        line = self._line(quota)
        until = max(until, line.free_at(quota))
        line.give(uid, until)
        return _hold(quota, until, policy)

    def _line(self, quota: Quota) -> _Line:
        """The line for a quota, which may be a new one: then those are forgotten that nobody has come from for long."""
        line = self._lines.get(_key(quota))
        if line is None:
            gone = quota.at - _GONE_AFTER
            self._lines = {key: it for key, it in self._lines.items() if it.last is not None and it.last >= gone}
            line = self._lines[_key(quota)] = _Line()
        return line

    def served(self, quota: Quota, uid: uuid.UUID) -> None:
        """Note that an object has had its token."""
        key = _key(quota)
        line = self._lines.get(key)
        if line is not None:
            line.times.pop(uid, None)
            line.forget_before(quota.at - _GONE_AFTER)
            if not line.times:
                del self._lines[key]

    def gone(self, uid: uuid.UUID) -> None:
        """Note that an object was deleted: those who come now need not stand behind it."""
        for key, line in list(self._lines.items()):
            until = line.times.pop(uid, None)
            if until is not None and until == line.last:
                line.last = max(line.times.values(), default=None)
            if not line.times:
                del self._lines[key]


def _key(quota: Quota) -> _LineKey:
    return _LineKey(quota.policy_uid, quota.namespace, quota.per_hour)


def _place(line: _Line, quota: Quota, policy: str, told: Hold | None) -> datetime | None:
    """The place that a status tells, where it would be told alike today; else behind the others, if any."""
    until = told.until if told is not None else None
    if until is not None and until > quota.at and told == _hold(quota, until, policy):
        return until
    return line.free_at(quota) if line.last is not None and line.last > quota.at else None


def _whole(moment: datetime) -> datetime:
    """The next whole second, as a status tells it: who comes then must not be too early."""
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + timedelta(seconds=1)


def _hold(quota: Quota, until: datetime, policy: str) -> Hold:
    until = _whole(until)
    return Hold(
        "QuotaExceeded",
        until,
        "",
        f"Policy {policy} grants namespace {quota.namespace} {quota.per_hour} issuances an hour, and they are used up:"
        f" it is this object's turn at {time_text(until)}",
    )
