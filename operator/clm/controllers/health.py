"""Liveness, readiness and metrics over HTTP.

Alive means that the process can still get its work done: the event loop answers, and no HSM call hangs (the process
then also ends by itself, see watchdog.py). Ready means that the start is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

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

    async def healthz(_: web.Request) -> web.Response:
        age_s = health.oldest_hsm_call_s()
        if age_s > health.call_limit_s:
            return web.Response(status=500, text=f"an HSM call has been hanging for {age_s:.0f} s\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if health.waiting_for is not None:
            return web.Response(status=503, text=f"waiting for {health.waiting_for}\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
