"""`clm controller`: the kopf operator."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys

import click
import uvloop

from clm.cluster.session import load_credentials, open_session
from clm.controllers.run import run_controller
from clm.errors import ClmError, ControllerEnded
from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.logs import configure_logging
from clm.settings import Settings, settings_from_environment
from clm.wiring.controller import build_controller
from clm.wiring.outside import open_dependencies


@click.command()
def controller() -> None:
    """Reconcile Certificates: keys from the HSM, records in the databases, Secrets in the cluster.

    Settings are read from CLM_* environment variables.
    """
    try:
        settings = settings_from_environment(os.environ)
        configure_logging(level=settings.log_level, format=settings.log_format)
        run(settings)
    except ClmError as error:
        raise click.ClickException(str(error)) from error


def run(settings: Settings, *, boundary: Boundary = no_boundary) -> None:
    """Run the controller to its end. `boundary` is for the crash tests."""
    # RSA keys are generated in threads: they should not keep the event loop from its turn for 5 ms each time.
    sys.setswitchinterval(0.001)
    # What is loaded by now stays; what a reconcile leaves behind is mostly freed without the collector.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    status = 0
    try:
        runner.run(_main(settings, boundary))
    except ControllerEnded as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the part that ended has logged its trace
        status = 1
    # Everything is closed. What is left are threads that may hang in the token's library: they must not hold the exit.
    logging.shutdown()
    os._exit(status)


async def _main(settings: Settings, boundary: Boundary) -> None:
    credentials = await load_credentials()
    session = open_session(credentials, connections=8)
    try:
        built = build_controller(settings, open_dependencies(settings, credentials), boundary=boundary)
        await run_controller(built, session, credentials.server)
    finally:
        await session.close()
