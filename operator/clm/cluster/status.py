"""Writes a Certificate's status, under the version of the object that was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.cluster import paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.cluster.client import ApiClient


class StatusWriter:
    """One patch a transition; a paused former leader gets StaleObject and changes nothing."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def write(self, body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Patch the status; None removes a field. Returns the object as it is then.

        Raises StaleObject when the object has changed since `body`, NotFound, Refused, ClusterUnavailable.
        """
        metadata = body["metadata"]
        path = paths.certificate_status(metadata["namespace"], metadata["name"])
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": changes}
        return await self._client.merge_patch(path, patch)
