"""kopf as CLM uses it: the informer. It watches; everything it would write, CLM writes itself.

No handler here does I/O, none has state in the objects, no index, timer, daemon or finalizer: what those cost at
10,000 objects is in docs/decisions/0002.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import kopf

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    import aiohttp

GROUP = "clm-operator.io"
VERSION = "v1alpha1"


class _Forever:
    """Back-offs that never end: a cluster that is away for an hour must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 3, 5)
        while True:
            yield 10


class _NoDiff(kopf.DiffBaseStorage):
    """No event handler asks what changed: do not copy every object twice to find out."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf keeps no state in the objects")


class _NoProgress(kopf.ProgressStorage):
    """Event handlers have no progress to keep, nor anything to clear from what is compared."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf keeps no state in the objects")

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence

    def flush(self) -> None:
        return None


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf's settings for a pure informer."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.watching.initial_streaming = True
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Forever()
    settings.networking.enforce_retry_after = True
    settings.queueing.idle_timeout = 0.1
    settings.process.ultimate_exiting_timeout = 60
    settings.persistence.diffbase_storage = _NoDiff()
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.finalizer = f"{GROUP}/unused"
    return settings


def kopf_registry(
    *,
    session: aiohttp.ClientSession,
    server: str,
    certificates: Callable[[str | None, dict[str, Any]], None],
    policies: Callable[[str | None, dict[str, Any]], None],
    key_rotations: Callable[[str | None, dict[str, Any]], None],
    namespaces: Callable[[str | None, dict[str, Any]], None],
) -> kopf.OperatorRegistry:
    """Registry with one event handler a kind."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=session)

    _watch(registry, (GROUP, VERSION, "certificates"), certificates)
    _watch(registry, (GROUP, VERSION, "policies"), policies)
    _watch(registry, (GROUP, VERSION, "keyrotations"), key_rotations)
    _watch(registry, ("", "v1", "namespaces"), namespaces)
    return registry


def _watch(
    registry: kopf.OperatorRegistry,
    resource: tuple[str, str, str],
    observed: Callable[[str | None, dict[str, Any]], None],
) -> None:
    @kopf.on.event(*resource, registry=registry)
    async def handler(event: kopf.RawEvent, **_: Any) -> None:
        observed(event["type"], cast("dict[str, Any]", event["object"]))


async def run_kopf(registry: kopf.OperatorRegistry, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Watch until `stop` is set."""
    # "Handler succeeded" for every event of every object is not news.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry,
        settings=kopf_settings(),
        clusterwide=True,
        standalone=True,
        ready_flag=ready,
        stop_flag=stop,
    )
