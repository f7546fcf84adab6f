"""The ConfigMap in which the newest checkpoint of each audit log is kept, out of reach of the databases.

What it holds, `clm.audit.anchor` reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.cluster.client import ApiClient

NAME = "clm-audit-anchor"
PUBLIC_KEY = "public-key.pem"


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the ConfigMap says; `resource_version` is None while it does not exist."""

    data: Mapping[str, str] = field(default_factory=dict)
    resource_version: str | None = None


class AnchorStore:
    """Reads and writes the ConfigMap. Every write names the version that it follows, so that none is lost."""

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def read(self) -> Anchors:
        """Read it. Raises ClusterUnavailable."""
        found = await self._client.get(paths.config_map(self._namespace, NAME))
        return Anchors() if found is None else _anchors(found)

    async def write(self, before: Anchors, data: Mapping[str, str | None]) -> Anchors:
        """Set these keys (None removes one), if it is still as it was read.

        Raises StaleObject or AlreadyExists when somebody else has written it, NotFound when it is gone, Refused,
        ClusterUnavailable.
        """
        if before.resource_version is None:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "clm"}},
                "data": dict(data),
            }
            return _anchors(await self._client.create(paths.config_maps(self._namespace), body))
        patch = {"metadata": {"resourceVersion": before.resource_version}, "data": dict(data)}
        return _anchors(await self._client.merge_patch(paths.config_map(self._namespace, NAME), patch))


def _anchors(body: Mapping[str, object]) -> Anchors:
    metadata, data = body["metadata"], body.get("data") or {}
    if not isinstance(metadata, dict) or not isinstance(data, dict):
        raise NotFound(f"what is called {NAME} is no ConfigMap")
    return Anchors({str(key): str(value) for key, value in data.items()}, str(metadata["resourceVersion"]))
