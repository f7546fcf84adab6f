"""What a process is to those who read what it wrote, and its clock."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import TypedDict

from clm import __version__


class Writer(TypedDict):
    """Who wrote an audit record: the machine or Pod, and the version of CLM."""

    origin: str
    version: str


def writer() -> Writer:
    """This process, as its audit records name it."""
    return Writer(origin=socket.gethostname(), version=__version__)


def utc_now() -> datetime:
    """Time of day, in UTC."""
    return datetime.now(UTC)
