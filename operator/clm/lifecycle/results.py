"""How a reconcile ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The object is as its spec asks, or only a change of something else can help.

    `recorded`: clm_secure_db knows of the next look as well, and has it made in time.
    """

    next_look_s: float | None = None
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Something was away or in the way; look again. `delay_s` None means the key's back-off."""

    reason: str
    delay_s: float | None = None


Result = Done | RetryAfter
