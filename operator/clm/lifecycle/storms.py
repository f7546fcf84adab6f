"""The storm breaker: an object that is issued again and again for the same cause is suspended for a while.

Counted is what is recorded, so a restart forgets nothing, and an object that is deleted and created again is the same
one by its name. Renewals by time are no storm: none comes within a minute of the last issuance, whatever a spec says.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from clm.lifecycle.holds import Hold
from clm.lifecycle.status import time_text
from clm.pki.tbs import BACKDATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clm.lifecycle.plan import Issue
    from clm.resources.records import IssueReason
    from clm.storage.secure.history import HistoryStore, PastIssuance

_CAUSES: dict[IssueReason, tuple[str, str]] = {
    "initial": ("Reissued", "what was issued for it was ended each time"),
    "spec-changed": ("SpecChanged", "its spec keeps changing: look for two who write it, such as two GitOps sources"),
    "issuer-changed": ("IssuerChanged", "the CA that its Policy names, or the key of that CA, keeps changing"),
    "re-key": ("ReKeyed", "its key was to be changed each time"),
    "manual": ("ManuallyTriggered", "a renewal was asked for each time: look for who writes the annotation"),
}


class StormLimits(NamedTuple):
    """So many issuances for one cause within `window` are a storm, and nothing is issued for `pause` after the last."""

    issuances: int
    window: timedelta
    pause: timedelta


def storm(recent: Sequence[PastIssuance], reason: IssueReason, limits: StormLimits, *, now: datetime) -> Hold | None:
    """Tell whether one more issuance for this reason would be one too many; until when it waits, and what ends it."""
    if reason not in _CAUSES:
        return None
    times = sorted(it.not_before + BACKDATE for it in recent if it.reason == reason)
    # The last so many came within the window: their pause counts from the last one.
    if len(times) < limits.issuances or times[-1] - times[-limits.issuances] > limits.window:
        return None
    until = times[-1] + limits.pause
    if until <= now:
        return None
    cause, why = _CAUSES[reason]
    how_long = f"{limits.window // timedelta(minutes=1)} minutes"
    return Hold(
        "IssuanceSuspended",
        until,
        cause,
        f"issued {limits.issuances} times within {how_long} for one cause ({reason}): {why}. Nothing is issued before"
        f" {time_text(until)}, unless the spec asks again for what was issued last"
        + ("" if reason == "manual" else ", or somebody asks by `clm renew`"),
    )


class StormBreaker:
    """Asks the record before what was issued a short while ago is issued again."""

    def __init__(self, history: HistoryStore, limits: StormLimits) -> None:
        self._history = history
        self._limits = limits

    async def check(self, step: Issue, *, asked: bool, name: tuple[str, str], now: datetime) -> Issue | Hold:
        """Let an issuance pass, or say why it waits. `asked`: somebody wants one, which lifts what is not about that.

        Costs a query only where the certificate that is to be replaced is young. Raises DatabaseUnavailable.
        """
        replaced = step.replaces
        longest = self._limits.window + self._limits.pause
        if replaced is None or step.reason == "renewal" or now - (replaced.not_before + BACKDATE) > longest:
            return step
        recent = await self._history.recent(*name, since=now - longest - BACKDATE)
        found = storm(recent, step.reason, self._limits, now=now)
        if found is None or step.reason == "manual" or not asked:
            return found or step
        return storm(recent, "manual", self._limits, now=now) or step._replace(reason="manual")
