"""The points of the path after which a crash must lose nothing.

Each procedure calls its boundary between two durable effects. In production that does nothing; the crash
tests pass a callable that kills the process there.
"""

from __future__ import annotations

from typing import Literal, Protocol

BoundaryName = Literal[
    "key.row-written",
    "hsm.key-generated",
    "key.read-back",
    "key.activated",
    "key.destruction-begun",
    "key.objects-destroyed",
    "key.destruction-recorded",
    "erasure.shredded",
    "erasure.emptied",
    "retention.batch-done",
    "crl.built",
    "crl.signed",
    "crl.published",
    "crl.marked",
    "issue.before-intent",
    "issue.intent-written",
    "issue.signed",
    "issue.recorded",
    "publish.core-written",
    "publish.secret-written",
    "publish.status-written",
    "publish.outbox-cleared",
    "revoke.recorded",
    "revoke.announced",
    "revoke.status-written",
    "revoke.secret-deleted",
]


class Boundary(Protocol):
    """Called with the name of the point that has just been passed."""

    def __call__(self, name: str, /) -> None:
        """Return, or end the process."""


def no_boundary(name: str, /) -> None:
    """Pass on: what production does at every boundary."""
