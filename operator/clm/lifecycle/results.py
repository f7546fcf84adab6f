"""How a reconcile ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The object is as its spec asks, or only a change of something else can help."""

    next_look_s: float | None = None


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Something was away or in the way; look again. `delay_s` None means the key's back-off."""

    reason: str
    delay_s: float | None = None


Result = Done | RetryAfter
