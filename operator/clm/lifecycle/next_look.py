"""When an object is looked at for the sake of its next certificate, by what its status tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.lifecycle.failures import waits_until
from clm.lifecycle.renewal import is_answered, renew_requested_at, used_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.resources.status import CertificateStatus


def renewal_at(metadata: Mapping[str, Any], status: CertificateStatus) -> float | None:
    """Moment, in seconds since the epoch, from which a renewal is due, by its time or because somebody asked.

    Of a certificate that is not renewed by time, its end: then the object is not Ready any more. Where attempts have
    failed, or a limit was reached, not before the next attempt. What waits for nothing any more is looked at at once.
    """
    asked = renew_requested_at(metadata)
    if asked is not None and (status.not_before is None or is_answered(asked, not_before=status.not_before)):
        asked = None
    if _is_void(status, asked) and status.not_before is not None:
        return status.not_before.timestamp()
    if status.hold == "QuotaExceeded":
        moment = _earlier(_by_time_over_quota(status), _asked_over_quota(status, asked))
        return moment.timestamp() if moment else None
    moment = _earlier(status.renewal_time or status.not_after, asked)
    if moment is None:
        return None
    until = status.next_attempt_time if status.hold is not None else None
    if status.hold == "Failed":
        until = waits_until(status, generation=metadata["generation"], asked_at=renew_requested_at(metadata))
    if until is not None:
        moment = max(moment, min(until, status.not_after or until))
    return moment.timestamp()


def _is_void(status: CertificateStatus, asked: datetime | None) -> bool:
    """Tell whether a limit holds nothing back: the request that it kept waiting was withdrawn.

    A renewal by time that it holds back was due before, and is always told when it comes.
    """
    if asked is not None or status.hold not in {"QuotaExceeded", "IssuanceSuspended"}:
        return False
    due, until = status.renewal_time, status.next_attempt_time
    return due is None or until is None or until < due


def _asked_over_quota(status: CertificateStatus, asked: datetime | None) -> datetime | None:
    """A request waits for its turn; where the Policy grants nothing, it has none until the Policy changes."""
    if asked is None or status.next_attempt_time is None:
        return None
    return max(asked, status.next_attempt_time)


def _by_time_over_quota(status: CertificateStatus) -> datetime | None:
    """What has stood for a third of its life is renewed at its time, whoever else stands in line."""
    due, end = status.renewal_time, status.not_after
    if due is None or end is None or status.not_before is None:
        return due or end
    used = used_from(not_before=status.not_before, not_after=end)
    return max(due, min(status.next_attempt_time or used, used))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)
