"""Whether a CA can go on issuing, and be relied on: its certificate's end, its key, its CRLs. Pure.

What is said holds still while nothing changes: moments, never what is left until then. So a condition is written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from clm.resources.certificate import DEFAULT_DURATION
from clm.resources.conditions import set_condition
from clm.resources.policy import CaIssuer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from clm.lifecycle.view import Key, PolicyView

CONDITION = "AuthorityHealthy"


class Problem(NamedTuple):
    """One thing that is wrong with a CA: a word for programs, and what people should know and do."""

    reason: str
    message: str


class CrlTimes(NamedTuple):
    """When a CRL was made, and when it ends."""

    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityState:
    """What is known of a CA. `key_problem`: why its key cannot sign; `crls`: None where it publishes none."""

    not_before: datetime
    not_after: datetime
    leaf_duration: timedelta
    key_problem: str | None
    crls: tuple[CrlTimes, ...] | None


def problems(state: AuthorityState, *, now: datetime) -> tuple[Problem, ...]:
    """Everything that is wrong, the worst first."""
    found = (_key(state), _certificate(state, now), _crl(state, now))
    return tuple(problem for problem in found if problem is not None)


def warns_at(state: AuthorityState) -> datetime:
    """Moment from which the end of a CA's certificate is near.

    That is when a leaf would get less than half of its lifetime, because no certificate outlives its issuer; for a CA
    that lives hardly longer than its leaves, when the last third of its own begins, at which it is renewed by default.
    """
    return state.not_after - min(state.leaf_duration / 2, (state.not_after - state.not_before) / 3)


def leaf_duration(ca: Key, policies: Iterable[PolicyView]) -> timedelta:
    """Longest lifetime that a leaf of this CA is expected to ask for: what a Policy bounds it to, or the default."""
    durations = [
        policy.spec.constraints.max_duration or DEFAULT_DURATION
        for policy in policies
        if policy.spec is not None
        and isinstance(policy.spec.issuer, CaIssuer)
        and (policy.spec.issuer.namespace, policy.spec.issuer.name) == ca
    ]
    return max(durations, default=DEFAULT_DURATION)


def health_conditions(
    conditions: list[dict[str, Any]], found: tuple[Problem, ...], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions with the one that tells how the CA is."""
    message = "; ".join(problem.message for problem in found)
    return set_condition(
        conditions,
        type=CONDITION,
        status="False" if found else "True",
        reason=found[0].reason if found else "Healthy",
        message=message or "The CA's certificate, its key and its CRLs are as they should be",
        observed_generation=generation,
        now=now,
    )


def _key(state: AuthorityState) -> Problem | None:
    return None if state.key_problem is None else Problem("KeyNotUsable", state.key_problem)


def _certificate(state: AuthorityState, now: datetime) -> Problem | None:
    end = _text(state.not_after)
    if now >= state.not_after:
        return Problem("Expired", f"the CA's certificate expired at {end}, and so did all that it issued; renew it")
    if now >= warns_at(state):
        return Problem(
            "Expiring",
            f"the CA's certificate ends at {end}, and whatever it issues ends with it, far earlier than asked; it"
            " should have been renewed: see its Ready condition, or ask for it with clm renew",
        )
    return None


def _crl(state: AuthorityState, now: datetime) -> Problem | None:
    if state.crls is None:
        return None
    if not state.crls:
        return Problem("CrlMissing", "no CRL has been published yet")
    oldest = min(state.crls, key=lambda crl: crl.next_update)
    end = _text(oldest.next_update)
    if now >= oldest.next_update:
        return Problem("CrlExpired", f"the CRL ended at {end}: who checks it trusts none of the CA's certificates")
    if now >= oldest.next_update - (oldest.next_update - oldest.this_update) / 4:
        return Problem("CrlLate", f"the CRL ends at {end} and should have been replaced at half of its lifetime")
    return None


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
