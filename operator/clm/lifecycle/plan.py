"""What is to be done for a Certificate: pure comparisons of what it asks for with what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from clm.lifecycle.renewal import is_answered

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from clm.resources.records import IssueReason, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that decides: the object's wish, its issuer, and the newest recorded revision."""

    now: datetime
    resource_uid: uuid.UUID
    spec_hash: bytes
    issuer_key_id: uuid.UUID
    newest: Revision | None
    renewal_due: datetime | None
    renewed_by_time: bool = True
    renew_requested_at: datetime | None
    held_until: datetime | None = None


class Issue(NamedTuple):
    """Make a new certificate. `replaces` is the revision that it supersedes."""

    reason: IssueReason
    revision: int
    replaces: Revision | None


@dataclass(frozen=True, slots=True)
class Finish:
    """Sign and record the intent that a crash left. `wanted`: publish it; else supersede it and go on."""

    pending: Revision
    wanted: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """Have the recorded certificate stand everywhere; `adopted` when it was issued to an earlier object."""

    recorded: Revision
    adopted: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before then: earlier attempts have failed."""

    until: datetime


Step = Issue | Finish | Publish | Wait


def _spec_differs(state: State, recorded: Revision) -> IssueReason | None:
    """The spec asks for another certificate than the recorded one."""
    return "spec-changed" if recorded.spec_hash != state.spec_hash else None


def _issuer_differs(state: State, recorded: Revision) -> IssueReason | None:
    """The Policy names another issuing key than the one that signed."""
    return "issuer-changed" if recorded.issuer_key_id != state.issuer_key_id else None


def _expired(state: State, recorded: Revision) -> IssueReason | None:
    """The certificate has expired, which is no reason where it is not renewed by time."""
    return "renewal" if state.renewed_by_time and recorded.not_after <= state.now else None


def _renewal_due(state: State, _: Revision) -> IssueReason | None:
    """The renewal time has come."""
    return "renewal" if state.renewal_due is not None and state.renewal_due <= state.now else None


def _renewal_requested(state: State, recorded: Revision) -> IssueReason | None:
    """Somebody asked for a renewal after the certificate was made."""
    return "manual" if _asks(state, recorded) else None


def is_asked(state: State) -> bool:
    """Tell whether somebody asked for a renewal after the newest certificate was made."""
    return state.newest is not None and _asks(state, state.newest)


def _asks(state: State, recorded: Revision) -> bool:
    asked = state.renew_requested_at
    return asked is not None and asked <= state.now and not is_answered(asked, not_before=recorded.not_before)


# In the order in which a reason is reported.
REISSUE_CHECKS = (_spec_differs, _issuer_differs, _expired, _renewal_due, _renewal_requested)


def plan(state: State) -> Step:
    """Decide the one next step. What stands is kept standing also while issuing anew has to wait."""
    step = _wanted(state)
    if state.held_until is None or state.held_until <= state.now or isinstance(step, Publish):
        return step
    standing = step.replaces if isinstance(step, Issue) and still_serves(step, now=state.now) else None
    if standing is None:
        return Wait(state.held_until)
    return Publish(standing, adopted=standing.owner.resource_uid != state.resource_uid)


def still_serves(step: Issue, *, now: datetime) -> bool:
    """Tell whether what a step would replace is what the spec asks for, and has not expired."""
    replaced = step.replaces
    return step.reason in {"renewal", "manual"} and replaced is not None and replaced.not_after > now


def _wanted(state: State) -> Step:
    newest = state.newest
    if newest is None:
        return Issue("initial", 1, None)
    if newest.owner.resource_uid != state.resource_uid:
        # The object is new, the certificate of its predecessor lives: take it over if it is what is asked for.
        reason = reissue_reason(state, newest)
        return Publish(newest, adopted=True) if reason is None else Issue(reason, 1, newest)
    if newest.state == "pending":
        wanted = _spec_differs(state, newest) is None and _issuer_differs(state, newest) is None
        return Finish(newest, wanted=wanted)
    if newest.state != "issued" or newest.certificate_state != "active":
        return Issue("initial", newest.revision + 1, newest)
    reason = reissue_reason(state, newest)
    return Publish(newest, adopted=False) if reason is None else Issue(reason, newest.revision + 1, newest)


def reissue_reason(state: State, recorded: Revision) -> IssueReason | None:
    """First reason why the recorded certificate is not what is wanted; None when it is."""
    for check in REISSUE_CHECKS:
        reason = check(state, recorded)
        if reason is not None:
            return reason
    return None
