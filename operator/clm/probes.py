"""Liveness, readiness and metrics of a process, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry


async def serve_probes(
    registry: CollectorRegistry,
    *,
    waiting_for: Callable[[], str | None],
    problem: Callable[[], str | None] = lambda: None,
    port: int,
    host: str,
) -> web.AppRunner:
    """Serve /healthz, /readyz and /metrics. The caller cleans up the runner.

    `problem` says what keeps the process from its work for good, `waiting_for` what it waits for before it is ready;
    None when there is nothing. Raises OSError when the port cannot be had.
    """

    async def healthz(_: web.Request) -> web.Response:
        why = problem()
        return web.Response(text="ok\n") if why is None else web.Response(status=500, text=f"{why}\n")

    async def readyz(_: web.Request) -> web.Response:
        waits_for = waiting_for()
        if waits_for is not None:
            return web.Response(status=503, text=f"waiting for {waits_for}\n")
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
