"""Asks an HTTP server as fast as it answers: connections that are kept, one request at a time on each.

    python -m benchmarks.http_load PORT SECONDS CONNECTIONS FILE

FILE holds the requests: each with its length before it, four octets. They are sent one after the other, from the first
again after the last. Prints JSON. A process of its own, so that the server has its core for itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_WARM_S = 0.5


class Client(asyncio.Protocol):
    """One connection. `latencies` are shared by all of them."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], wrong: list[bytes]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._wrong = wrong
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask first."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Ask again when the answer is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]):
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        # An OCSPResponse that is no answer is shorter than any signature.
        if not head.startswith(b"HTTP/1.1 200 ") or len(body) < 64:  # noqa: PLR2004
            self._wrong.append(self._received)
        self._received = b""
        self._ask()

    def _ask(self) -> None:
        if self._transport is not None:
            self._sent_at = time.perf_counter()
            self._transport.write(next(self._requests))


async def load(port: int, seconds: float, connections: int, requests: list[bytes]) -> dict[str, object]:
    """Ask for so long; give the figures, without those of the first moment."""
    loop, latencies, wrong = asyncio.get_running_loop(), list[float](), list[bytes]()
    source = cycle(requests)
    transports = [
        (await loop.create_connection(lambda: Client(source, latencies, wrong), HOST, port))[0]
        for _ in range(connections)
    ]
    await asyncio.sleep(_WARM_S)
    latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - began
    measured = sorted(latencies)
    for transport in transports:
        transport.close()
    return {
        "count": len(measured),
        "perSecond": len(measured) / elapsed,
        "p50Ms": measured[len(measured) // 2] * 1000,
        "p99Ms": measured[int(len(measured) * 0.99)] * 1000,
        "wrong": len(wrong),
    }


def read_requests(file: Path) -> list[bytes]:
    """Take the requests out of their file."""
    data, requests, at = file.read_bytes(), [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        requests.append(data[at + 4 : end])
        at = end
    return requests


def write_requests(file: Path, requests: list[bytes]) -> None:
    """Write such a file."""
    file.write_bytes(b"".join(len(request).to_bytes(4, "big") + request for request in requests))


if __name__ == "__main__":
    port_, seconds_, connections_, file_ = sys.argv[1:]
    print(json.dumps(uvloop.run(load(int(port_), float(seconds_), int(connections_), read_requests(Path(file_))))))
