"""Starts the controller, keeps it running, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from functools import partial
from typing import TYPE_CHECKING

from clm.cluster.definitions import KINDS, require_served
from clm.controllers.health import Health, serve_health
from clm.controllers.kopf_operator import kopf_registry, run_kopf
from clm.controllers.partitions import keep_partitions, prepare_partitions
from clm.controllers.watchdog import watch_calls
from clm.errors import ControllerEnded, DatabaseUnprepared, PinRejected, Unavailable
from clm.hsm.probe import probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from clm.hsm.token import Token
    from clm.wiring.controller import Controller

logger = logging.getLogger(__name__)

_DRAIN_S = 10.0
_BUNDLE_WORKERS = 8
_READ_ROOTS_S = 300.0
_KOPF_EXIT_S = 1.0
_CLOSE_S = 5.0
_START_RETRY_S = 1.0
_PIN_RETRY_S = 5.0


async def run_controller(controller: Controller, session: aiohttp.ClientSession, server: str) -> None:
    """Run until SIGTERM or SIGINT; what is being worked on is finished first.

    A dependency that is away at the start is waited for. A wrong PIN is not tried again before its file changes.
    Raises ControllerEnded when a part of it ended by itself: the process must then end, and be started again.
    """
    dependencies = controller.dependencies
    settings = controller.settings
    health = Health(dependencies.token.oldest_call_s, settings.hsm_call_limit_s)
    calls = watch_calls(dependencies.token.oldest_call_s, limit_s=settings.hsm_call_limit_s)
    watchdog = asyncio.create_task(calls, name="watchdog")
    logins = asyncio.create_task(controller.acts.watch_logins(), name="logins")
    runner = None
    try:
        if settings.health_port:
            registry = controller.metrics.registry
            runner = await serve_health(health, registry, port=settings.health_port, host=settings.health_host)
        await _unless_ended(watchdog, asyncio.create_task(_start(controller, health), name="start"))
        await _run(controller, health, session, server, watchdog)
    finally:
        watchdog.cancel()
        logins.cancel()
        await controller.acts.stopped()
        if runner is not None:
            await runner.cleanup()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(dependencies.close(), _CLOSE_S)


async def _start(controller: Controller, health: Health) -> None:
    dependencies = controller.dependencies
    await dependencies.secure.start()
    await dependencies.core.start()
    await asyncio.gather(
        _insist(health, "clm_secure_db", lambda: prepare_partitions(dependencies.secure, "secure")),
        _insist(health, "clm_core_db", lambda: prepare_partitions(dependencies.core, "core")),
        _open_token(health, dependencies.token),
    )
    await _insist(health, "the key-encryption key", controller.keyring.open)
    await _insist(health, "the audit log", controller.acts.started)
    # kopf looks once what the API server serves, and would never see a kind that comes later.
    for definition in KINDS:
        what = f"the CustomResourceDefinition {definition}"
        await _insist(health, what, partial(require_served, dependencies.client, definition))


async def _unless_ended(watchdog: asyncio.Task[None], work: asyncio.Task[None]) -> None:
    """Wait for the work, but not for longer than the watchdog runs. Raises what ended either."""
    await asyncio.wait([watchdog, work], return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
        await watchdog
    await work


async def _open_token(health: Health, token: Token) -> None:
    await _insist(health, "the HSM token", token.start)
    await _insist(health, "the token's mechanisms", lambda: _probe(token))


async def _run(
    controller: Controller,
    health: Health,
    session: aiohttp.ClientSession,
    server: str,
    watchdog: asyncio.Task[None],
) -> None:
    registry = kopf_registry(
        session=session,
        server=server,
        certificates=controller.certificates.observed,
        policies=controller.policies.observed,
        key_rotations=controller.key_rotations.observed,
        namespaces=lambda type, body: _namespace(controller, type, body),  # noqa: A006
    )
    dependencies = controller.dependencies
    ready, stop = asyncio.Event(), asyncio.Event()
    background = [
        asyncio.create_task(work, name=name)
        for name, work in (
            ("secrets", controller.secret_watch.run()),
            ("policies", controller.policies.run()),
            ("trust bundles", _publish_roots(controller)),
            ("deleted bundles", _sweep_bundles(controller)),
            ("rotations", controller.key_rotations.run()),
            ("events", controller.events.run()),
            ("partitions", keep_partitions({"secure": dependencies.secure, "core": dependencies.core})),
            ("renewals", controller.renewals.run(interval_s=controller.settings.renewal_interval_s)),
            ("deletions", _sweep_deletions(controller)),
            ("integrity", _compare(controller)),
            ("key states", controller.key_states.run(interval_s=controller.settings.key_state_interval_s)),
            ("keystore passwords", _watch_passwords(controller)),
            (
                "authority health",
                controller.authority_health.run(interval_s=controller.settings.authority_health_interval_s),
            ),
            ("upkeep", _keep_up(controller)),
            ("deleted policies", _sweep_policies(controller)),
            ("sealing", controller.sealing.run(interval_s=controller.settings.audit_seal_interval_s)),
            ("publishing", controller.publishing.run(interval_s=controller.settings.publish_interval_s)),
        )
    ]
    background.append(watchdog)
    health.waiting_for = "the watch of Secrets"
    await _first(controller.secret_watch.synced, background)
    health.waiting_for = "the watch of Certificates"
    background.append(asyncio.create_task(controller.certificates.run(workers=controller.settings.reconcile_workers)))
    background.append(asyncio.create_task(_relay(controller, ready)))
    background.append(asyncio.create_task(_say_ready(health, ready)))
    kopf_task = asyncio.create_task(run_kopf(registry, ready=ready, stop=stop), name="kopf")
    stopping = asyncio.create_task(_stop_signal(ready), name="signal")
    # Whichever ends first ends the process: a controller that lost a part of itself must not go on half.
    done, _ = await asyncio.wait([kopf_task, stopping, *background], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopping}:
        error = None if task.cancelled() else task.exception()
        logger.error("the controller ends, because its part %s ended", task.get_name(), exc_info=error)
    await controller.certificates.drain(timeout_s=_DRAIN_S)
    # kopf takes every task of the loop for its own when it ends; by now none has anything to lose.
    stop.set()
    for task in (*background, stopping):
        task.cancel()
    await asyncio.wait([kopf_task, *background], timeout=_KOPF_EXIT_S)
    if done - {stopping}:
        raise ControllerEnded("a part of the controller ended by itself")


async def _first(event: asyncio.Event, parts: list[asyncio.Task[None]]) -> None:
    """Wait for an event. Raises ControllerEnded when a part that may have to set it ends first."""
    wait = asyncio.create_task(event.wait())
    done, _ = await asyncio.wait([wait, *parts], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {wait}:
        error = None if task.cancelled() else task.exception()
        logger.error("the start ends, because its part %s ended", task.get_name(), exc_info=error)
        raise ControllerEnded("a part of the controller ended during the start")


async def _sweep_deletions(controller: Controller) -> None:
    client, settings = controller.dependencies.watch_client, controller.settings
    await controller.certificates.run_sweep(client, interval_s=settings.deletion_sweep_interval_s)


async def _watch_passwords(controller: Controller) -> None:
    await controller.password_watch.run(interval_s=controller.settings.keystore_password_interval_s)


async def _sweep_policies(controller: Controller) -> None:
    client, settings = controller.dependencies.watch_client, controller.settings
    # Policies are few, and how long a deleted one may stay in force counts: they are swept more often.
    await controller.policies.run_sweep(client, interval_s=settings.sweep_interval_s)


async def _publish_roots(controller: Controller) -> None:
    await controller.trust_bundles.run(workers=_BUNDLE_WORKERS, interval_s=_READ_ROOTS_S)


async def _sweep_bundles(controller: Controller) -> None:
    client, settings = controller.dependencies.watch_client, controller.settings
    await controller.trust_bundles.run_sweep(client, interval_s=settings.sweep_interval_s)


async def _compare(controller: Controller) -> None:
    settings = controller.settings
    await controller.integrity.run(first_s=settings.integrity_first_s, interval_s=settings.integrity_interval_s)


async def _keep_up(controller: Controller) -> None:
    settings = controller.settings
    await controller.upkeep.run(first_s=settings.integrity_first_s, interval_s=settings.retention_interval_s)


async def _stop_signal(ready: asyncio.Event) -> None:
    """Wait for SIGTERM or SIGINT. kopf installs handlers of its own at its start; these replace them."""
    loop, received = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.set)
    await _either(ready, received)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.set)
    await received.wait()


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _relay(controller: Controller, ready: asyncio.Event) -> None:
    # kopf is ready before it has listed anything: what is not in the view yet, the relay asks the API server for.
    await ready.wait()
    await controller.relay.run(interval_s=controller.settings.sweep_interval_s)


async def _say_ready(health: Health, ready: asyncio.Event) -> None:
    await ready.wait()
    health.waiting_for = None
    logger.info("the controller is ready")
    await asyncio.Event().wait()


async def _insist(health: Health, what: str, attempt: Callable[[], Awaitable[object]]) -> None:
    health.waiting_for = what
    while True:
        try:
            await attempt()
        except PinRejected as error:
            logger.error("%s: %s", what, error)  # noqa: TRY400 - the trace says nothing more
            await asyncio.sleep(_PIN_RETRY_S)
        except (Unavailable, DatabaseUnprepared) as error:
            logger.warning("waiting for %s: %s", what, error)
            await asyncio.sleep(_START_RETRY_S)
        else:
            return


async def _probe(token: Token) -> None:
    """Try what the operator will need of the token, before it is needed. Raises Unsupported."""
    capabilities = await probe(token)
    capabilities.require()
    logger.info("the token %s (%s) does what is needed", token.label, token.module_description)


def _namespace(controller: Controller, type: str | None, body: dict[str, object]) -> None:  # noqa: A002
    metadata: dict[str, object] = body["metadata"]  # type: ignore[assignment]
    name, ends = str(metadata["name"]), type == "DELETED" or "deletionTimestamp" in metadata
    if type == "DELETED":
        controller.view.remove_namespace(name)
    else:
        controller.certificates.namespace_changed(name, dict(metadata.get("labels") or {}))  # type: ignore[call-overload]
    controller.trust_bundles.namespace_changed(name, ends=ends)
