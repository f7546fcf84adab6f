"""Whose a Secret's name is, where several Certificates of a namespace ask for it: the oldest one's.

By creationTimestamp, then by name: so that whoever is asked, whenever and after whatever restart, says the same. The
others are told, and the next one takes over when the owner goes or takes another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.lifecycle.view import Key

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient
    from clm.lifecycle.view import ClusterView
    from clm.resources.records import Owner


class SecretNames:
    """Decides by what the view knows, and asks the API server before anything is taken from another Certificate."""

    def __init__(self, *, view: ClusterView, client: ApiClient) -> None:
        self._view = view
        self._client = client

    async def may_take(self, owner: Owner, secret_name: str, former: str) -> bool:
        """Tell whether a Certificate may take over the Secret that was written for another one of its namespace.

        It may when the other one is gone, has another Secret now, or is the younger one.
        Raises an Unavailable when the API server must be asked and is away.
        """
        other = Key(owner.namespace, former)
        # Right after a start the view may not have it yet.
        found = await self._client.get(paths.certificate(*other))
        if found is None:
            return True
        _, entry = self._view.put(found)
        if entry.secret_name != secret_name:
            return True
        return self._view.secret_owner(owner.namespace, secret_name) == Key(owner.namespace, owner.name)
