"""Ports on the loopback address, chosen once and kept, so that a kubeconfig stays valid over restarts."""

from __future__ import annotations

import json
import random
import socket
from typing import TYPE_CHECKING

from clm.dev.state import write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the range that Linux takes for outgoing connections (ip_local_port_range begins at 32768): a port that is kept
# while nothing listens must not be taken by a connection.
_RANGE = range(20_000, 32_000)
_TRIES = 200


def choose_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """Give every name a free port: the remembered one if it is still free. Raises StartFailed when none is found."""
    known: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    chosen: dict[str, int] = {}
    for name in names:
        chosen[name] = _choose(known.get(name), taken=set(chosen.values()))
    if chosen != known:
        write_private(file, json.dumps(chosen) + "\n")
    return chosen


def keep_port(file: Path, name: str) -> int:
    """Give the port that is remembered under this name, also while something listens there; else choose a free one.

    For addresses that others have written down for good, as certificates do. Raises StartFailed when none is found.
    """
    known = remembered_ports(file)
    return known[name] if name in known else choose_ports(file, [*known, name])[name]


def remembered_ports(file: Path) -> dict[str, int]:
    """Read the ports that were chosen last."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _choose(preferred: int | None, *, taken: set[int]) -> int:
    if preferred is not None and preferred not in taken and _is_free(preferred):
        return preferred
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311 - any free port will do
        if port not in taken and _is_free(port):
            return port
    raise StartFailed(f"no free port between {_RANGE.start} and {_RANGE.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of a former listener that linger do not hinder a new one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
