"""Starts the responder, keeps it running, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

from clm.errors import ResponderEnded, StartFailed
from clm.responder.health import serve_health
from clm.responder.parts import build

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from clm.responder.parts import Parts
    from clm.responder.settings import ResponderSettings

logger = logging.getLogger(__name__)

_DRAIN_S = 10.0
_CLOSE_S = 5.0
_GRACE_S = 30.0
"""How long readiness waits for the certificates of the OCSP keys: without the controller there are none, but CRLs."""


async def run_responder(settings: ResponderSettings, *, origin: str) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    Raises StartFailed when a port cannot be had, ResponderEnded when a part of it ended by itself.
    """
    parts = build(settings, origin=origin)
    stop = _stop_signal()
    readiness = Readiness(parts)
    runner = None
    await parts.database.start()
    try:
        port = await parts.server.start(settings.responder_host, settings.responder_port)
        logger.info("serving at http://%s:%d", settings.responder_host, port)
        if settings.health_port:
            runner = await serve_health(
                parts, readiness.waiting_for, port=settings.health_port, host=settings.health_host
            )
        await _until(stop, {"feed": parts.feed.run(), "connections": parts.server.run()})
    except OSError as error:
        raise StartFailed(f"cannot listen: {error}") from error
    finally:
        await parts.server.stop(timeout_s=_DRAIN_S)
        if runner is not None:
            await runner.cleanup()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(parts.database.close(), _CLOSE_S)


class Readiness:
    """What the start waits for: a first look at clm_core_db, then, for a while, the right to sign OCSP answers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._began = time.monotonic()
        self._is_ready = False

    def waiting_for(self) -> str | None:
        """Name what is waited for; None when the responder answers. What is lost later is not waited for."""
        if self._is_ready:
            return None
        if not self._parts.feed.looked.is_set():
            return "clm_core_db"
        issuers, delegations = self._parts.documents.issuers.values(), self._parts.delegations
        missing = [each.name for each in issuers if each.ocsp_enabled and delegations.get(each.key_id) is None]
        if missing and time.monotonic() < self._began + _GRACE_S:
            return f"the certificate for OCSP answers of {', '.join(missing)}"
        self._is_ready = True
        return None


def _stop_signal() -> asyncio.Event:
    loop, received = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.set)
    return received


async def _until(stop: asyncio.Event, works: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Run parts until a signal comes. Raises ResponderEnded when one of them ends before."""
    parts = [asyncio.create_task(work, name=name) for name, work in works.items()]
    stopping = asyncio.create_task(stop.wait(), name="signal")
    done, _ = await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *parts):
        task.cancel()
    for task in done - {stopping}:
        error = None if task.cancelled() else task.exception()
        logger.error("the responder ends, because its part %s ended", task.get_name(), exc_info=error)
        raise ResponderEnded("a part of the responder ended by itself")
