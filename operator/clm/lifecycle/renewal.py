"""When a certificate is due for renewal, and when somebody has asked for one."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from clm.pki.tbs import BACKDATE
from clm.resources.status import parse_time

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.resources.certificate import CertificateSpec
    from clm.resources.windows import RenewalWindow

RENEW_REQUESTED_AT = "clm-operator.io/renew-requested-at"
"""Annotation with the moment (RFC 3339) at which somebody asked for a renewal. It stays, and counts once."""

_LEAST = timedelta(minutes=5)
_LEAST_USE = timedelta(minutes=1)
"""However early somebody wants the next one: a certificate that is due at its issuance would be issued without end."""

_SPREAD_SHARE, _SPREAD_MOST = 10, timedelta(days=7)
"""Renewals are spread over the last tenth of the time until they are due, and over a week at most."""


class Renewal(NamedTuple):
    """When a certificate is renewed by time; `at` is None when it never is.

    `window_missed`: it has windows, and none of them opens in time, so it is renewed outside of them.
    """

    at: datetime | None
    window_missed: bool = False


def renewal_time(
    spec: CertificateSpec, *, uid: uuid.UUID, not_before: datetime, not_after: datetime, now: datetime | None = None
) -> Renewal:
    """Moment from which the certificate of the object `uid` is renewed, to the second.

    `renewBefore` and `renewBeforePercentage` count from the end of the certificate as it was issued, which may be
    earlier than asked; without them, and where they do not fit into what is left of its lifetime when it is issued,
    it is at two thirds of it. Never earlier than a minute after the issuance.

    The jitter moves it earlier, by the object's uid: what was issued together is not due together. Windows move it
    later, to the first one at or after it. Where `now` is later still, and no window is open, it waits for the next.
    """
    if spec.renewal.policy == "Disabled":
        return Renewal(None)
    issued = not_before + BACKDATE
    due = _due(spec, issued, not_before=not_before, not_after=not_after)
    room = min((due - issued) / _SPREAD_SHARE, _SPREAD_MOST, due - issued - _LEAST_USE)
    share = _share(uid)
    due = (due - room * share).replace(microsecond=0)
    if not spec.renewal.windows:
        return Renewal(due)
    latest = not_after - _reserve(due, not_before=not_before, not_after=not_after)
    placed = _placed(spec.renewal.windows, due, share=share, latest=latest)
    if now is not None and placed.at is not None and placed.at <= now and not _open_at(spec.renewal.windows, now):
        return _placed(spec.renewal.windows, now, share=share, latest=latest)
    return placed


def _due(spec: CertificateSpec, issued: datetime, *, not_before: datetime, not_after: datetime) -> datetime:
    lifetime, before = not_after - not_before, spec.renew_before
    if before is None and spec.renew_before_percentage is not None:
        before = lifetime * spec.renew_before_percentage / 100
    if before is None or before >= not_after - issued:
        before = lifetime / 3
    return max(not_after - max(before, _LEAST), issued + _LEAST_USE).replace(microsecond=0)


def _reserve(due: datetime, *, not_before: datetime, not_after: datetime) -> timedelta:
    """How long before the end a renewal must have come: an outage may last, and a window may be the last one.

    A fiftieth of the lifetime (43 hours of 90 days), where renewBefore leaves that much.
    """
    return max(min((not_after - not_before) / 50, (not_after - due) / 2), min(_LEAST, (not_after - due) / 2))


def _placed(windows: Sequence[RenewalWindow], moment: datetime, *, share: float, latest: datetime) -> Renewal:
    """The moment itself where a window is open; else in the one that opens next, spread over it; else all the same."""
    if _open_at(windows, moment):
        return Renewal(moment)
    openings = [(opening, window.lasts) for window in windows if (opening := window.opens_at(moment)) is not None]
    if not openings:
        return Renewal(moment, window_missed=True)
    opening, lasts = min(openings)
    if opening > latest:
        return Renewal(moment, window_missed=True)
    # What waited for the window is spread over it, or it would all be due as it opens.
    usable = min(lasts, latest - opening)
    return Renewal(opening + timedelta(seconds=int(usable.total_seconds() * share)))


def _open_at(windows: Sequence[RenewalWindow], moment: datetime) -> bool:
    return any(window.opened_at(moment) is not None for window in windows)


def _share(uid: uuid.UUID) -> float:
    """A number from 0 up to 1 that is the uid's own, and that tells nothing of when the object was made."""
    return int.from_bytes(hashlib.sha256(uid.bytes).digest()[:6]) / 2**48


def used_from(*, not_before: datetime, not_after: datetime) -> datetime:
    """Moment from which a certificate has stood for a third of its life. A spec may ask for a renewal each minute."""
    issued = not_before + BACKDATE
    return issued + (not_after - issued) / 3


def renew_requested_at(metadata: Mapping[str, Any]) -> datetime | None:
    """Moment at which a renewal was asked for, by the object's annotation; None where it cannot be read."""
    return parse_time((metadata.get("annotations") or {}).get(RENEW_REQUESTED_AT))


def is_answered(requested_at: datetime, *, not_before: datetime) -> bool:
    """Tell whether a certificate was issued after a renewal was asked for.

    To the second, as certificates are: one that was issued in the second of the request answers it.
    """
    return requested_at.replace(microsecond=0) <= not_before + BACKDATE
