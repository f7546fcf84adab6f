"""The real operator, but for the first CA key that it makes in the token: that call never returns."""

from __future__ import annotations

import os
import threading

from clm.cli.controller import run
from clm.logs import configure_logging
from clm.settings import settings_from_environment


def _hang(name: str, /) -> None:
    if name == "hsm.key-generated":
        threading.Event().wait()


if __name__ == "__main__":
    settings = settings_from_environment(os.environ)
    configure_logging(level=settings.log_level)
    run(settings, boundary=_hang)
