"""`clm responder`: CRLs, OCSP and CA certificates over HTTP."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import click
import uvloop

from clm.errors import ClmError
from clm.logs import configure_logging
from clm.responder.run import run_responder
from clm.responder.settings import responder_settings


@click.command()
def responder() -> None:
    """Serve CRLs, OCSP answers and CA certificates over HTTP, from clm_core_db alone.

    Settings are read from CLM_* environment variables; CLM_CORE_DSN is that of the user clm_responder.
    """
    try:
        settings = responder_settings(os.environ)
        configure_logging(level=settings.log_level, format=settings.log_format)
        # What is loaded by now stays; what an answer leaves behind is mostly freed without the collector.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_responder(settings, origin=socket.gethostname()))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
