"""Which errors count as a failed issuance, and when the next attempt is made.

A failure is what the object itself brings about, and what the same attempt would bring about again: a certificate that
breaks its profile, something that the token refuses to do with it, a signature that does not verify. What is away, what
somebody has stopped, and what waits for another object is none: that is over when it is over, and looked at often.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from clm.errors import (
    ClmError,
    HsmError,
    IssuanceFailed,
    KeyMismatch,
    KeyMissing,
    LintFailed,
    PinRejected,
    SignatureInvalid,
    TokenMismatch,
)
from clm.resources.problems import together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from clm.resources.status import CertificateStatus

FIRST_WAIT, LAST_WAIT = timedelta(hours=1), timedelta(hours=32)
"""As in cert-manager: an hour, doubled by each failure, up to 32 hours."""

# The token, or the key of a CA, is not as it should be: that is no fault of the object, and the next may come soon.
_NOT_THE_OBJECTS = (PinRejected, TokenMismatch, KeyMissing, KeyMismatch)


class Failure(NamedTuple):
    """How often issuance has failed for the present spec, and when it is tried again."""

    attempts: int
    at: datetime
    next_attempt_at: datetime


def is_failure(error: ClmError) -> bool:
    """Tell whether an error is a failed issuance, and not something that waits for others."""
    if isinstance(error, HsmError):
        return not isinstance(error, _NOT_THE_OBJECTS)
    return isinstance(error, LintFailed | SignatureInvalid)


@contextmanager
def issuing() -> Iterator[None]:
    """Have what fails in here for the object's own sake come out as IssuanceFailed."""
    try:
        yield
    except LintFailed as error:
        raise IssuanceFailed("LintFailed", together(error.findings)) from error
    except ClmError as error:
        if not is_failure(error):
            raise
        raise IssuanceFailed(type(error).__name__, str(error)) from error


def waits_until(status: CertificateStatus, *, generation: int, asked_at: datetime | None) -> datetime | None:
    """Until when the failures that a status tells of keep the next attempt waiting; None where they do not.

    They count for no other spec, and not from the moment on at which somebody asks for a renewal.
    """
    if status.hold != "Failed" or status.hold_generation != generation or status.next_attempt_time is None:
        return None
    if _asks_anew(status, asked_at) and asked_at is not None:
        return min(asked_at, status.next_attempt_time)
    return status.next_attempt_time


def next_failure(status: CertificateStatus, *, generation: int, asked_at: datetime | None, now: datetime) -> Failure:
    """Count a failure on top of those that a status tells of."""
    counts = waits_until(status, generation=generation, asked_at=asked_at) is not None
    if asked_at is not None and asked_at <= now and _asks_anew(status, asked_at):
        counts = False
    attempts = min((status.failed_attempts or 0 if counts else 0) + 1, 2**31 - 1)
    wait = min(FIRST_WAIT * 2 ** min(attempts - 1, 10), LAST_WAIT)
    return Failure(attempts, now, now + wait)


def _asks_anew(status: CertificateStatus, asked_at: datetime | None) -> bool:
    return asked_at is not None and (status.last_failure_time is None or asked_at > status.last_failure_time)
