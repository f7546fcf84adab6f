"""A small client for the API server: plain dictionaries in and out, and CLM's own errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from clm.errors import AlreadyExists, ClusterUnavailable, Forbidden, Invalid, NotFound, Refused, StaleObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

GROUP = "clm-operator.io"
VERSION = "v1alpha1"
_FOR_GOOD = frozenset({400, 413, 422})
_RETRY_LATER = frozenset({401, 408, 429, 500, 502, 503, 504})
_ADMISSION_LATER = ("not yet ready to handle request", "status unknown for quota")
"""What admission says with 403 until it has loaded what it decides by."""


class ApiClient:
    """Requests to one API server over a bounded session. It never retries: its callers know what is safe."""

    def __init__(self, session: aiohttp.ClientSession, server: str, *, timeout_s: float = 15.0) -> None:
        self._session = session
        self._server = server
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the decoded answer.

        Raises NotFound, AlreadyExists, StaleObject, Refused (Invalid when for good), or ClusterUnavailable (which is
        worth a retry; Forbidden among it).
        """
        data = orjson.dumps(body) if body is not None else None
        headers = {"Accept": accept, "Content-Type": content_type} if data else {"Accept": accept}
        try:
            async with self._session.request(
                method, self._server + path, data=data, headers=headers, params=query, timeout=self._timeout
            ) as response:
                payload = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise ClusterUnavailable(f"{method} {path}: {type(error).__name__}") from error
        if status < 300:  # noqa: PLR2004
            answer: dict[str, Any] = orjson.loads(payload)
            return answer
        raise _error(method, path, status, payload)

    async def get(self, path: str, *, accept: str = JSON) -> dict[str, Any] | None:
        """Read one object; None when it does not exist."""
        try:
            return await self.request("GET", path, accept=accept)
        except NotFound:
            return None

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the collection at `path`. Raises AlreadyExists."""
        return await self.request("POST", path, body=body)

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, accept: str = JSON) -> dict[str, Any]:
        """Apply a JSON merge patch (RFC 7386). With a resourceVersion in it, raises StaleObject when outdated."""
        return await self.request("PATCH", path, body=body, content_type=MERGE_PATCH, accept=accept)

    async def list_metadata(self, path: str, *, label_selector: str = "") -> tuple[list[dict[str, Any]], str]:
        """List the metadata of a collection, in pages. Returns the items and the resource version to watch from."""
        return await self.list_objects(path, label_selector=label_selector, accept=METADATA_LIST_ONLY)

    async def list_objects(
        self, path: str, *, label_selector: str = "", accept: str = JSON
    ) -> tuple[list[dict[str, Any]], str]:
        """List a collection, in pages. Returns the items and the resource version to watch from."""
        items: list[dict[str, Any]] = []
        query = {"limit": "1000"}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self.request("GET", path, accept=accept, query=query)
            items.extend(page.get("items") or ())
            following = page["metadata"].get("continue")
            if not following:
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = following

    async def watch_objects(
        self, path: str, *, resource_version: str, label_selector: str = "", accept: str = JSON, timeout_s: int = 300
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield watch events, until the server ends the stream.

        Raises ClusterUnavailable when the stream breaks, NotFound when `resource_version` is too old.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        # Bookmarks come every minute; a stream that is silent for longer is dead.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=120)
        try:
            async with self._session.get(
                self._server + path, headers={"Accept": accept}, params=query, timeout=timeout
            ) as response:
                if response.status == 410:  # noqa: PLR2004
                    raise NotFound(f"watch {path}: resource version is too old")
                if response.status != 200:  # noqa: PLR2004
                    raise _error("WATCH", path, response.status, await response.read())
                async for line in _lines(response.content):
                    yield orjson.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterUnavailable(f"watch {path}: {type(error).__name__}") from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # StreamReader.readline has a length limit that a large object may pass.
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _error(method: str, path: str, status: int, payload: bytes) -> Exception:
    try:
        answer = orjson.loads(payload)
        reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
        named = bool((answer.get("details") or {}).get("name"))
    except (orjson.JSONDecodeError, AttributeError):
        reason, message, named = "", "", False
    text = f"{method} {path}: {status} {message[:500]}".rstrip()
    if status == 404:  # noqa: PLR2004
        # Right after its start a server may not serve the kind yet: that says nothing of the object.
        return NotFound(text) if reason == "NotFound" and named else ClusterUnavailable(text)
    if status == 403:  # noqa: PLR2004
        return _forbidden(text, message)
    if status == 409:  # noqa: PLR2004
        return AlreadyExists(text) if reason == "AlreadyExists" else StaleObject(text)
    if status in _RETRY_LATER:
        return ClusterUnavailable(text)
    return Invalid(text) if status in _FOR_GOOD else Refused(text)


def _forbidden(text: str, message: str) -> Exception:
    if not message or ('User "' in message and '" cannot ' in message):
        return Forbidden(text)
    if any(said in message for said in _ADMISSION_LATER):
        return ClusterUnavailable(text)
    # A quota, a webhook, an admission policy, a namespace that is being terminated: somebody has to change something.
    return Refused(text)
