"""Follows the objects of one kind that carry a label of CLM's: a list, then a watch, without an end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from clm.errors import ClmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from clm.cluster.client import ApiClient

logger = logging.getLogger(__name__)

Name = tuple[str, str]
"""Namespace and name."""

_REMEMBERED = 10_000
_PAUSE_S = 0.2
_LONG_S = 30.0


class Version(Protocol):
    """What is kept of an object: at least which state of which object it is."""

    @property
    def uid(self) -> str:
        """Id of the object."""

    @property
    def resource_version(self) -> str:
        """Its state."""


Seen = TypeVar("Seen", bound=Version)


class ObjectWatch(Generic[Seen]):
    """Follows the objects of a collection that a label selector takes.

    `read(item)` gives what is kept of an object; `accept` is the form in which the API server is asked for them.
    `changed(namespace, name)` is called for each that appeared, changed or went; neither may block.
    """

    def __init__(
        self,
        client: ApiClient,
        changed: Callable[[str, str], None],
        *,
        collection: str,
        selector: str,
        accept: tuple[str, str],
        read: Callable[[dict[str, Any]], Seen],
    ) -> None:
        self._client = client
        self._changed = changed
        self._collection = collection
        self._selector = selector
        self._accept_list, self._accept = accept
        self._read = read
        self._versions: dict[str, dict[str, Seen]] = {}  # by namespace, so that one can be gone through
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)
        self.synced = asyncio.Event()

    def version(self, namespace: str, name: str) -> Seen | None:
        """Last known version of an object; None when there is none."""
        return self._versions.get(namespace, {}).get(name)

    def in_namespace(self, namespace: str) -> Mapping[str, Seen]:
        """What is known of a namespace, by name; it changes as the watch goes on."""
        return self._versions.get(namespace, {})

    def items(self) -> Iterator[tuple[Name, Seen]]:
        """Iterate over a copy of all that is known."""
        every = self._versions.items()
        return iter([((namespace, name), seen) for namespace, known in every for name, seen in known.items()])

    def wrote(self, namespace: str, name: str, version: Seen) -> None:
        """Remember a write of our own at once, so that its echo is no news.

        What the watch has said since counts more: a newer version, or that the object is gone.
        """
        if version.uid not in self._gone and not _older(version, self.version(namespace, name)):
            self._versions.setdefault(namespace, {})[name] = version

    async def run(self) -> None:
        """List, then watch, and again from the start whenever the stream is too old; until cancelled."""
        delay_s = _PAUSE_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                resource_version = await self._list()
                self.synced.set()
                await self._follow(resource_version)
            except ClmError as error:
                self._failed(error, delay_s)
            lived_s = asyncio.get_running_loop().time() - began
            delay_s = _PAUSE_S if lived_s > _LONG_S else min(delay_s * 2, 15.0)
            await asyncio.sleep(delay_s)

    def _failed(self, error: ClmError, delay_s: float) -> None:
        logger.warning("the watch of %s starts again in %.1f s: %s", self._collection, delay_s, error)

    async def _list(self) -> str:
        items, resource_version = await self._client.list_objects(
            self._collection, label_selector=self._selector, accept=self._accept_list
        )
        before = dict(self.items())
        self._versions = {}
        for item in items:
            namespace, name = _name(item)
            self._versions.setdefault(namespace, {})[name] = self._read(item)
        if self.synced.is_set():
            found = dict(self.items())
            for key in before.keys() | found.keys():
                if before.get(key) != found.get(key):
                    self._changed(*key)
        return resource_version

    async def _follow(self, resource_version: str) -> None:
        while True:
            async for event in self._client.watch_objects(
                self._collection,
                resource_version=resource_version,
                label_selector=self._selector,
                accept=self._accept,
            ):
                item = event["object"]
                if event["type"] == "ERROR":
                    return
                resource_version = item["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], item)
            await asyncio.sleep(_PAUSE_S)  # a server that ends every stream at once is not to be run down

    def _apply(self, type: str, item: dict[str, Any]) -> None:  # noqa: A002
        (namespace, name), version = _name(item), self._read(item)
        known = self.version(namespace, name)
        if type == "DELETED":
            self._gone.append(version.uid)
            # A late echo of an old object's end must not hide the new one.
            if known is not None and known.uid == version.uid:
                self._drop(namespace, name)
                self._changed(namespace, name)
        elif known != version and not _older(version, known):
            self._versions.setdefault(namespace, {})[name] = version
            self._changed(namespace, name)

    def _drop(self, namespace: str, name: str) -> None:
        del self._versions[namespace][name]
        if not self._versions[namespace]:
            del self._versions[namespace]


def _older(version: Version, known: Version | None) -> bool:
    # Versions of one object are ordered numbers since Kubernetes 1.35; an echo may come after our next write.
    return (
        known is not None and known.uid == version.uid and int(version.resource_version) < int(known.resource_version)
    )


def _name(item: dict[str, Any]) -> Name:
    metadata = item["metadata"]
    return metadata["namespace"], metadata["name"]
