"""What keeps an issuance waiting: failures and storms, how long, what ends it, and what the status says."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from clm.errors import (
    ClmError,
    HsmError,
    HsmUnavailable,
    IssuanceFailed,
    KeyMissing,
    KeyNotActive,
    LintFailed,
    PinRejected,
    SignatureInvalid,
    Unsupported,
    WrapRejected,
)
from clm.lifecycle.failures import is_failure, issuing
from clm.lifecycle.holds import Hold, failed_status, failure_hold, held_status, is_told, next_look, with_hold
from clm.lifecycle.renewal import RENEW_REQUESTED_AT
from clm.lifecycle.status import Refusal, changes, refused_status, time_text
from clm.lifecycle.storms import StormLimits, storm
from clm.lifecycle.view import ClusterView
from clm.pki.tbs import BACKDATE
from clm.resources.conditions import find
from clm.storage.secure.history import PastIssuance

if TYPE_CHECKING:
    from clm.resources.records import IssueReason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ERROR = IssuanceFailed("HsmError", "the token refuses")
LIMITS = StormLimits(3, HOUR, 4 * HOUR)
SUSPENDED = Hold("IssuanceSuspended", NOW + HOUR, "SpecChanged", "too often")
QUOTA = Hold("QuotaExceeded", NOW + HOUR, "", "none left")


def _body(*, generation: int = 1, ready: bool = False, asked: datetime | None = None, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}] if ready else []
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": str(uuid.UUID(int=1)),
            "resourceVersion": "1",
            "generation": generation,
            "annotations": {RENEW_REQUESTED_AT: asked.isoformat()} if asked else {},
        },
        "spec": {"policyRef": {"name": "p"}, "secretName": "web-tls"},
        "status": {
            "observedGeneration": 1,
            "notBefore": (NOW - 60 * 24 * HOUR).isoformat(),
            "notAfter": (NOW + 30 * 24 * HOUR).isoformat(),
            "renewalTime": (NOW - HOUR).isoformat(),
            "conditions": conditions,
            **status,
        },
    }


def _failed(body: dict[str, Any], now: datetime) -> Hold:
    status, hold = failed_status(body, ERROR, now=now)
    body["status"] |= status
    return hold


def _condition(body: dict[str, Any], kind: str) -> Any:
    return find(body["status"]["conditions"], kind)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (LintFailed(("no name",)), True),
        (SignatureInvalid("x"), True),
        (HsmError("x"), True),
        (Unsupported("x"), True),
        (WrapRejected("x"), True),
        (PinRejected("x"), False),
        (KeyMissing("x"), False),
        (KeyNotActive("x"), False),
        (HsmUnavailable("x"), False),
    ],
)
def test_what_is_a_failure(error: ClmError, *, counts: bool) -> None:
    """What the object brings about is one; what is away, stopped or lost for all of them is not."""
    assert is_failure(error) is counts
    with pytest.raises(IssuanceFailed if counts else type(error)), issuing():
        raise error


def test_attempts_wait_an_hour_and_then_twice_as_long_each_time() -> None:
    """Up to 32 hours; each is counted and told, with its time, in the fields that cert-manager has for it."""
    body, now, waits = _body(), NOW, []
    for _ in range(8):
        hold = _failed(body, now)
        assert hold.until is not None
        waits.append((hold.until - now) / HOUR)
        now = hold.until
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32]
    status = body["status"]
    assert status["failedIssuanceAttempts"] == 8
    assert status["nextAttemptTime"] == now.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (_condition(body, "Issuing")["status"], _condition(body, "Issuing")["reason"]) == ("False", "Failed")
    assert (_condition(body, "Ready")["status"], _condition(body, "Ready")["reason"]) == ("False", "HsmError")


def test_what_keeps_the_next_attempt_waiting_and_what_does_not() -> None:
    """The time, unless the spec changes or somebody asks; after that it is counted anew."""
    body = _body()
    _failed(body, NOW)
    assert failure_hold(body, now=NOW + HOUR / 2) is not None
    assert failure_hold(body, now=NOW + HOUR) is None
    for changed in ({"generation": 2}, {"annotations": {RENEW_REQUESTED_AT: (NOW + HOUR / 4).isoformat()}}):
        other = {**body, "metadata": {**body["metadata"], **changed}, "status": dict(body["status"])}
        assert failure_hold(other, now=NOW + HOUR / 2) is None
        _failed(other, NOW + HOUR / 2)
        assert other["status"]["failedIssuanceAttempts"] == 1
        assert failure_hold(other, now=NOW + HOUR) is not None
    soon = {**body, "metadata": {**body["metadata"], "annotations": {RENEW_REQUESTED_AT: (NOW + HOUR / 4).isoformat()}}}
    early = failure_hold(soon, now=NOW + HOUR / 8)
    assert early is not None, "their clock is ahead of ours"
    assert next_look(soon, early, now=NOW + HOUR / 8) == 450
    asked_before = {**body, "metadata": {**body["metadata"], "annotations": {RENEW_REQUESTED_AT: NOW.isoformat()}}}
    assert failure_hold(asked_before, now=NOW + HOUR / 2) is not None


def test_a_certificate_that_stands_stays_ready_when_its_renewal_fails() -> None:
    """And is left alone until the next attempt, or until it expires, which is told."""
    body = _body(ready=True)
    hold = _failed(body, NOW)
    assert _condition(body, "Ready")["status"] == "True"
    assert _condition(body, "Issuing")["reason"] == "Failed"
    _, entry = ClusterView().put(body)
    assert entry.renewal_at == (NOW + HOUR).timestamp()
    assert not entry.look_is_recorded
    assert held_status(body, hold, now=NOW + HOUR / 2) == {}
    body["status"]["notAfter"] = (NOW + HOUR / 4).isoformat()
    _, entry = ClusterView().put(body)
    assert entry.renewal_at == (NOW + HOUR / 4).timestamp()
    expired = held_status(body, hold, now=NOW + HOUR / 2)
    assert (find(expired["conditions"], "Ready") or {})["reason"] == "Expired"
    assert (find(expired["conditions"], "Issuing") or {})["reason"] == "Failed"


def test_success_clears_what_failures_said() -> None:
    """And so does a spec that asks for nothing new; a Secret that is repaired meanwhile does not."""
    body = _body(ready=True)
    hold = _failed(body, NOW)
    repaired = with_hold(body, {"conditions": body["status"]["conditions"]}, hold, now=NOW)
    assert find(repaired["conditions"], "Issuing") is not None
    assert "failedIssuanceAttempts" not in repaired
    issued = with_hold(body, {"conditions": body["status"]["conditions"]}, None, now=NOW)
    assert find(issued["conditions"], "Issuing") is None
    assert issued["failedIssuanceAttempts"] is issued["lastFailureTime"] is issued["nextAttemptTime"] is None


def _look(body: dict[str, Any], hold: Hold, now: datetime) -> tuple[bool, bool]:
    """Take in a hold. Tells whether the status was written, and whether that is an Event."""
    news, status = not is_told(body, hold, now=now), changes(body, held_status(body, hold, now=now))
    body["status"] |= status
    return bool(status), news


@pytest.mark.parametrize("hold", [SUSPENDED, QUOTA], ids=lambda hold: hold.kind)
def test_a_limit_is_told_once(hold: Hold) -> None:
    """Not Ready by its reason where nothing stands; Ready where it does; the next look writes nothing."""
    for ready in (False, True):
        body = _body(ready=ready)
        assert _look(body, hold, NOW) == (True, True)
        assert _condition(body, "Ready")["reason"] == ("Ready" if ready else hold.kind)
        assert (_condition(body, "Reconciling") is None) is ready
        assert body["status"]["nextAttemptTime"] == "2026-06-01T13:00:00Z"
        kind = "IssuanceSuspended" if hold is SUSPENDED else "Issuing"
        assert (_condition(body, kind)["status"], _condition(body, kind)["message"]) == ("True", hold.message)
        assert _look(body, hold, NOW + HOUR / 2) == (False, False)
        over = with_hold(body, {"conditions": body["status"]["conditions"]}, None, now=NOW)
        assert find(over["conditions"], kind) is None


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("hold", [SUSPENDED, QUOTA], ids=lambda hold: hold.kind)
def test_another_time_is_told_and_is_no_event(hold: Hold, *, ready: bool) -> None:
    """The status tells the truth: another place in line, another number. What is rounded otherwise is the same."""
    hold, body = hold._replace(message=f"{hold.message} until {time_text(NOW + HOUR)}"), _body(ready=ready)
    _look(body, hold, NOW)
    for seconds in (-4, 4):
        until = NOW + HOUR + timedelta(seconds=seconds)
        rounded = hold._replace(until=until, message=f"{hold.message[:-20]}{time_text(until)}")
        assert _look(body, rounded, NOW + HOUR / 2) == (False, False)
    later = NOW + 9 * HOUR
    assert _look(body, hold._replace(until=later, message=f"until {time_text(later)}"), NOW + HOUR) == (True, False)
    assert body["status"]["nextAttemptTime"] == time_text(later)
    kind = "IssuanceSuspended" if hold.kind == "IssuanceSuspended" else "Issuing"
    assert _condition(body, kind)["message"] == f"until {time_text(later)}"
    assert _look(body, hold._replace(until=later, message="the quota is another"), NOW + HOUR) == (True, False)
    # The same limit for another spec is news.
    body["metadata"]["generation"] = 2
    assert not is_told(body, hold, now=NOW)


def test_the_same_limit_for_another_cause_is_news() -> None:
    """Who is suspended for its spec and then for its CA is told twice."""
    body = _body()
    _look(body, SUSPENDED, NOW)
    assert _look(body, SUSPENDED._replace(cause="IssuerChanged"), NOW) == (True, True)


def test_what_has_passed_is_told_no_longer() -> None:
    """A turn that came and gave nothing is followed by another, be it only seconds later."""
    body = _body()
    _look(body, QUOTA, NOW)
    assert _look(body, QUOTA._replace(until=NOW + HOUR + timedelta(seconds=2)), NOW + HOUR) == (True, False)


def test_a_limit_without_a_time_tells_none() -> None:
    """A Policy that grants nothing any more takes the time back that was told before."""
    body = _body(ready=True)
    _look(body, QUOTA, NOW)
    never = Hold("QuotaExceeded", None, "", "nothing is granted")
    assert with_hold(body, {"conditions": body["status"]["conditions"]}, never, now=NOW)["nextAttemptTime"] is None
    assert _look(body, never, NOW) == (True, False)
    assert body["status"]["nextAttemptTime"] is None
    assert _look(body, never, NOW + HOUR) == (False, False)


def test_another_refusal_takes_the_place_of_a_limit() -> None:
    """The reason of Ready is always the newest."""
    body = _body()
    body["status"] |= held_status(body, QUOTA, now=NOW)
    body["status"] |= refused_status(body, Refusal("PolicyNotFound", "there is none"), now=NOW)
    assert _condition(body, "Ready")["reason"] == "PolicyNotFound"


def _past(reason: IssueReason, *minutes_ago: float) -> list[PastIssuance]:
    return [PastIssuance(reason, NOW - timedelta(minutes=ago) - BACKDATE) for ago in minutes_ago]


def test_the_same_cause_again_and_again_is_a_storm() -> None:
    """The limit within the window; until the pause after the last one; the message says why and what ends it."""
    found = storm(_past("spec-changed", 59, 30, 1), "spec-changed", LIMITS, now=NOW)
    assert found is not None
    assert (found.kind, found.cause) == ("IssuanceSuspended", "SpecChanged")
    assert found.until == NOW - timedelta(minutes=1) + 4 * HOUR
    for said in ("3 times within 60 minutes", "its spec keeps changing", "2026-06-01T15:59:00Z", "clm renew"):
        assert said in found.message


@pytest.mark.parametrize(
    "past",
    [
        _past("spec-changed", 30, 1),
        # Not within one window.
        _past("spec-changed", 90, 30, 1),
        # The pause is over.
        _past("spec-changed", 300, 290, 280),
        # For several causes.
        [*_past("spec-changed", 30, 1), *_past("manual", 20), *_past("renewal", 10)],
    ],
)
def test_no_storm(past: list[PastIssuance]) -> None:
    """What a person does who tries something out, or what has been over for long."""
    assert storm(past, "spec-changed", LIMITS, now=NOW) is None


def test_renewals_by_time_are_no_storm() -> None:
    """They never come within a minute of the last one, and holding one up could cost the certificate."""
    assert storm(_past("renewal", 4, 3, 2, 1), "renewal", LIMITS, now=NOW) is None
