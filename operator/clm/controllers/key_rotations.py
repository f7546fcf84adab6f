"""Says of every KeyRotation that this version carries none out: it is never silently ignored."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.errors import ClmError, Unavailable
from clm.resources.conditions import set_condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.client import ApiClient

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_MESSAGE = "this version carries out no rotations; nothing was changed"


class KeyRotationController:
    """Writes Ready=False, reason NotSupported."""

    def __init__(self, *, client: ApiClient, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def observed(self, type: str | None, body: dict[str, Any]) -> None:  # noqa: A002
        """Take in an event of a KeyRotation object. Must not block."""
        status = body.get("status") or {}
        if type != "DELETED" and status.get("observedGeneration") != body["metadata"]["generation"]:
            self._queue.put_nowait(body)

    async def run(self) -> None:
        """Write the conditions, until cancelled."""
        while True:
            body = await self._queue.get()
            try:
                await self._write(body)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
                self._queue.put_nowait(body)
            except ClmError as error:
                logger.info("KeyRotation %s: status was not written: %s", body["metadata"]["name"], error)

    async def _write(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        conditions = list((body.get("status") or {}).get("conditions") or ())
        said: dict[str, Any] = {
            "reason": "NotSupported",
            "message": _MESSAGE,
            "observed_generation": metadata["generation"],
            "now": self._clock(),
        }
        conditions = set_condition(conditions, type="Ready", status="False", **said)
        conditions = set_condition(conditions, type="Stalled", status="True", **said)
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {"observedGeneration": metadata["generation"], "conditions": conditions},
        }
        await self._client.merge_patch(paths.key_rotation_status(metadata["name"]), patch)
