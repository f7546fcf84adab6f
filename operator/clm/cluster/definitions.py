"""Whether the API server serves the three kinds, everywhere that a watch asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.errors import ClusterUnavailable

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient

_GROUP = "clm-operator.io"
KINDS = {
    f"{path.rpartition('/')[2]}.{_GROUP}": path for path in (paths.CERTIFICATES, paths.POLICIES, paths.KEY_ROTATIONS)
}
"""Paths of the three kinds, by the name of their CustomResourceDefinition."""


async def require_served(client: ApiClient, definition: str) -> None:
    """Insist on one of the KINDS: that it can be listed, and that discovery shows it, which may come later.

    Raises ClusterUnavailable where it is not served yet, Forbidden where the right to list it is missing.
    """
    path = KINDS[definition]
    await client.request("GET", path, query={"limit": "1"})
    version, _, plural = path.rpartition("/")
    groups = await client.request("GET", "/apis")
    resources = await client.request("GET", version)
    found = any(group["name"] == _GROUP for group in groups["groups"])
    if not found or all(resource["name"] != plural for resource in resources["resources"]):
        raise ClusterUnavailable(f"{definition} is not in the API server's discovery yet")
