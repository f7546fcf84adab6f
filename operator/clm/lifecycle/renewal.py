"""When a certificate is due for renewal, and when somebody has asked for one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from clm.pki.tbs import BACKDATE
from clm.resources.status import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.resources.certificate import CertificateSpec

RENEW_REQUESTED_AT = "clm-operator.io/renew-requested-at"
"""Annotation with the moment (RFC 3339) at which somebody asked for a renewal. It stays, and counts once."""

_LEAST = timedelta(minutes=5)
_LEAST_USE = timedelta(minutes=1)
"""However early somebody wants the next one: a certificate that is due at its issuance would be issued without end."""


def renewal_time(spec: CertificateSpec, *, not_before: datetime, not_after: datetime) -> datetime:
    """Moment from which the certificate is renewed, to the second.

    `renewBefore` and `renewBeforePercentage` count from the end of the certificate as it was issued, which may be
    earlier than asked; without them, and where they do not fit into what is left of its lifetime when it is issued,
    it is at two thirds of it. Never earlier than a minute after the issuance.
    """
    lifetime, issued = not_after - not_before, not_before + BACKDATE
    before = spec.renew_before
    if before is None and spec.renew_before_percentage is not None:
        before = lifetime * spec.renew_before_percentage / 100
    if before is None or before >= not_after - issued:
        before = lifetime / 3
    moment = not_after - max(before, _LEAST)
    return max(moment, issued + _LEAST_USE).replace(microsecond=0)


def renew_requested_at(metadata: Mapping[str, Any]) -> datetime | None:
    """Moment at which a renewal was asked for, by the object's annotation; None where it cannot be read."""
    return parse_time((metadata.get("annotations") or {}).get(RENEW_REQUESTED_AT))


def is_answered(requested_at: datetime, *, not_before: datetime) -> bool:
    """Tell whether a certificate was issued after a renewal was asked for.

    To the second, as certificates are: one that was issued in the second of the request answers it.
    """
    return requested_at.replace(microsecond=0) <= not_before + BACKDATE
