"""Liveness, readiness and metrics over HTTP.

Alive means that the process can still get its work done: the event loop answers, and no HSM call hangs (the process
then also ends by itself, see watchdog.py). Ready means that the start is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.probes import serve_probes

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web
    from prometheus_client import CollectorRegistry


@dataclass(slots=True)
class Health:
    """How the process is. `waiting_for` says what the start waits for; None once it is complete."""

    oldest_hsm_call_s: Callable[[], float]
    call_limit_s: float
    waiting_for: str | None = "start"
    problems: dict[str, str] = field(default_factory=dict)


async def serve_health(health: Health, registry: CollectorRegistry, *, port: int, host: str) -> web.AppRunner:
    """Serve /healthz, /readyz and /metrics. The caller cleans up the runner."""

    def hanging() -> str | None:
        age_s = health.oldest_hsm_call_s()
        return f"an HSM call has been hanging for {age_s:.0f} s" if age_s > health.call_limit_s else None

    return await serve_probes(registry, waiting_for=lambda: health.waiting_for, problem=hanging, port=port, host=host)
