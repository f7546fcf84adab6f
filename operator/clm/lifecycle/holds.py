"""What keeps an issuance waiting for a time that is known, and how a status says so.

A certificate that stands stays Ready meanwhile. Each is said once: a retry that finds the same writes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from clm.lifecycle.failures import next_failure, waits_until
from clm.lifecycle.renewal import renew_requested_at
from clm.lifecycle.status import Refusal, refused_status, time_text
from clm.resources.conditions import find, remove_condition, set_condition
from clm.resources.status import HoldKind, parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.errors import IssuanceFailed

_NO_NEWS = timedelta(seconds=5)
"""A time that differs by less than this from the one that is told is the same: who counts it anew rounds it anew."""


class Hold(NamedTuple):
    """Why nothing is issued before `until`; None: not before something is changed.

    Of a failure the status tells already, and there is no message.
    """

    kind: HoldKind
    until: datetime | None
    cause: str = ""
    message: str = ""


def failure_hold(body: Mapping[str, Any], *, now: datetime) -> Hold | None:
    """What earlier failures, by the object's status, keep waiting; None when it may be tried."""
    status, generation = parse_status(body.get("status")), body["metadata"]["generation"]
    until = waits_until(status, generation=generation, asked_at=renew_requested_at(body["metadata"]))
    return Hold("Failed", until) if until is not None and now < until else None


def next_look(body: Mapping[str, Any], hold: Hold, *, now: datetime) -> float | None:
    """Seconds until an object that is held needs a look, which is also when somebody asks; None: when it changes."""
    asked = renew_requested_at(body["metadata"])
    moments = [moment for moment in (hold.until, asked) if moment is not None and moment > now]
    return max((min(moments) - now).total_seconds(), 1.0) if moments else None


def failed_status(body: Mapping[str, Any], error: IssuanceFailed, *, now: datetime) -> tuple[dict[str, Any], Hold]:
    """Status of a Certificate whose issuance has failed, and until when the next attempt waits."""
    status, generation = parse_status(body.get("status")), body["metadata"]["generation"]
    asked = renew_requested_at(body["metadata"])
    failure = next_failure(status, generation=generation, asked_at=asked, now=now)
    then = time_text(failure.next_attempt_at)
    message = f"{error.message}; tried again at {then}, or when the spec changes, or on `clm renew`"
    said: dict[str, Any] = {"observed_generation": generation, "now": now}
    changed: dict[str, Any] = {"conditions": _conditions(body)}
    if not _stands(body, now):
        changed = refused_status(body, Refusal(error.reason, message, waiting=error.reason != "LintFailed"), now=now)
    changed["conditions"] = set_condition(
        changed["conditions"], type="Issuing", status="False", reason="Failed", message=message[:32768], **said
    )
    changed |= {
        "failedIssuanceAttempts": failure.attempts,
        "lastFailureTime": time_text(failure.at),
        "nextAttemptTime": then,
    }
    return changed, Hold("Failed", failure.next_attempt_at)


def held_status(body: Mapping[str, Any], hold: Hold, *, now: datetime) -> dict[str, Any]:
    """Status of a Certificate for which nothing is issued now, and whose present certificate is not published.

    Also where it is told already, with its time: the caller writes what differs.
    """
    status, generation = parse_status(body.get("status")), body["metadata"]["generation"]
    if hold.kind == "Failed":
        if status.ready is not True or _stands(body, now):
            return {}
        then = time_text(hold.until) if hold.until else "no time"
        why = f"the certificate has expired; its renewal failed and is tried again at {then}: see condition Issuing"
        return refused_status(body, Refusal("Expired", why, waiting=True), now=now)
    hold = _as_told(body, hold, now=now)
    changed: dict[str, Any] = {"conditions": _conditions(body)}
    if not _stands(body, now):
        changed = refused_status(body, Refusal(hold.kind, hold.message, waiting=True), now=now)
    changed["conditions"] = held_conditions(changed["conditions"], hold, generation=generation, now=now)
    return {**changed, "nextAttemptTime": time_text(hold.until) if hold.until else None}


def told_hold(body: Mapping[str, Any]) -> Hold | None:
    """The limit that a status tells of, as it was told, for whatever generation; None where it tells of none."""
    status = parse_status(body.get("status"))
    if status.hold is None or status.hold == "Failed":
        return None
    said = find(_conditions(body), "IssuanceSuspended" if status.hold == "IssuanceSuspended" else "Issuing") or {}
    cause = str(said.get("reason")) if status.hold == "IssuanceSuspended" else ""
    return Hold(status.hold, status.next_attempt_time, cause, str(said.get("message")))


def is_told(body: Mapping[str, Any], hold: Hold, *, now: datetime) -> bool:
    """Tell whether the status says already that this limit keeps the present spec waiting, at whatever time it ends.

    Only what is not told yet is an Event, or an act in the audit log: a place in line may change many times.
    """
    told, generation = told_hold(body), body["metadata"]["generation"]
    if told is None or (told.kind, told.cause) != (hold.kind, hold.cause):
        return False
    if parse_status(body.get("status")).hold_generation != generation:
        return False
    ready = find(_conditions(body), "Ready") or {}
    return _stands(body, now) or (ready.get("reason"), ready.get("observedGeneration")) == (hold.kind, generation)


def _as_told(body: Mapping[str, Any], hold: Hold, *, now: datetime) -> Hold:
    """The hold with the time that the status tells, where that is still to come and the new one is no other."""
    told = told_hold(body)
    if told is None or told.kind != hold.kind or told.until is None or hold.until is None or told.until <= now:
        return hold
    if abs(told.until - hold.until) >= _NO_NEWS:
        return hold
    message = hold.message.replace(time_text(hold.until), time_text(told.until))
    return hold._replace(until=told.until, message=message)


def held_conditions(
    conditions: Sequence[Mapping[str, Any]], hold: Hold | None, *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions that tell of a hold, or that there is none any more."""
    if hold is not None and hold.kind == "Failed":
        return [dict(condition) for condition in conditions]
    kept = remove_condition(remove_condition(conditions, "Issuing"), "IssuanceSuspended")
    if hold is None:
        return kept
    said: dict[str, Any] = {"message": hold.message, "observed_generation": generation, "now": now}
    if hold.kind == "IssuanceSuspended":
        kept = remove_condition(conditions, "Issuing")
        return set_condition(kept, type="IssuanceSuspended", status="True", reason=hold.cause, **said)
    kept = remove_condition(conditions, "IssuanceSuspended")
    return set_condition(kept, type="Issuing", status="True", reason=hold.kind, **said)


def with_hold(body: Mapping[str, Any], status: dict[str, Any], hold: Hold | None, *, now: datetime) -> dict[str, Any]:
    """Add to the status of a certificate that stands what keeps the next one waiting, or that nothing does."""
    generation = body["metadata"]["generation"]
    hold = _as_told(body, hold, now=now) if hold is not None else None
    conditions = held_conditions(status["conditions"], hold, generation=generation, now=now)
    if hold is None:
        fields = dict.fromkeys(("failedIssuanceAttempts", "lastFailureTime", "nextAttemptTime"))
    else:
        fields = {} if hold.kind == "Failed" else {"nextAttemptTime": time_text(hold.until) if hold.until else None}
    return {**status, "conditions": conditions, **fields}


def _stands(body: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether the status says that a certificate stands for the present spec, and it has not expired."""
    status = parse_status(body.get("status"))
    current = status.ready is True and status.observed_generation == body["metadata"]["generation"]
    return current and status.not_after is not None and now < status.not_after


def _conditions(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((body.get("status") or {}).get("conditions") or ())
