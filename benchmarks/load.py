"""The client's side of a benchmark: creates objects, watches them become Ready, by its own clock.

It runs in a process of its own, so that its CPU is not the operator's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from typing import Any

import aiohttp
import orjson
import uvloop

from clm.cluster.session import load_credentials, open_session

CERTIFICATES = "/apis/clm-operator.io/v1alpha1"
CREATORS = 16


def certificate(name: str, policy: str) -> dict[str, Any]:
    """Make a P-256 leaf like those people have most of."""
    return {
        "apiVersion": "clm-operator.io/v1alpha1",
        "kind": "Certificate",
        "metadata": {"name": name},
        "spec": {
            "policyRef": {"name": policy},
            "secretName": f"{name}-tls",
            "commonName": f"{name}.bench.svc",
            "dnsNames": [f"{name}.bench.svc", f"{name}.bench.svc.cluster.local"],
            "duration": "2160h",
            "usages": ["digital signature", "key encipherment", "server auth"],
            "privateKey": {"algorithm": "ECDSA", "size": 256},
        },
    }


class Api:
    """Plain requests to the API server."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        """Use this session."""
        self.session = session
        self.server = server

    async def send(self, method: str, path: str, body: Any, *, content_type: str = "application/json") -> Any:
        """Send one write and return the answer; an error status raises."""
        async with self.session.request(
            method, self.server + path, data=orjson.dumps(body), headers={"Content-Type": content_type}
        ) as response:
            payload = await response.read()
            if response.status >= 300:  # noqa: PLR2004
                raise RuntimeError(f"{method} {path}: {response.status} {payload[:300]!r}")
            return orjson.loads(payload)


async def create_all(api: Api, namespace: str, names: list[str], policy: str, created: dict[str, float]) -> None:
    """Create the objects as fast as the API server takes them; note when each create was sent."""
    path = f"{CERTIFICATES}/namespaces/{namespace}/certificates"
    waiting = list(reversed(names))

    async def creator() -> None:
        while waiting:
            name = waiting.pop()
            created[name] = time.monotonic()
            await api.send("POST", path, certificate(name, policy))

    await asyncio.gather(*(creator() for _ in range(CREATORS)))


async def watch_ready(
    api: Api, namespace: str, names: set[str], ready: dict[str, float], started: asyncio.Event, version: str
) -> None:
    """Note when each object is seen Ready, until all are."""
    path = f"{api.server}{CERTIFICATES}/namespaces/{namespace}/certificates"
    timeout = aiohttp.ClientTimeout(total=None)
    while len(ready) < len(names):
        # A server ends a watch now and then; the next goes on where it ended.
        rest = b""
        query = {"watch": "1", "resourceVersion": version}
        async with api.session.get(path, params=query, timeout=timeout) as response:
            started.set()
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    version = _note_ready(line, names, ready)
                if len(ready) == len(names):
                    return


def _note_ready(line: bytes, names: set[str], ready: dict[str, float]) -> str:
    body = orjson.loads(line)["object"]
    name = body["metadata"].get("name")
    if name in names and name not in ready:
        conditions = body.get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            ready[name] = time.monotonic()
    version: str = body["metadata"]["resourceVersion"]
    return version


async def issue(api: Api, namespace: str, prefix: str, count: int, policy: str) -> dict[str, Any]:
    """Create `count` Certificates and wait for all. Returns the figures, and how long each took."""
    names = [f"{prefix}-{number:05d}" for number in range(count)]
    created: dict[str, float] = {}
    ready: dict[str, float] = {}
    path = f"{api.server}{CERTIFICATES}/namespaces/{namespace}/certificates"
    async with api.session.get(path, params={"limit": "1"}) as response:
        version = (await response.json())["metadata"]["resourceVersion"]
    started = asyncio.Event()
    watcher = asyncio.create_task(watch_ready(api, namespace, set(names), ready, started, version))
    await started.wait()
    begin = time.monotonic()
    await create_all(api, namespace, names, policy, created)
    creating_s = time.monotonic() - begin
    await watcher
    seconds = max(ready.values()) - begin
    latencies = sorted(ready[name] - created[name] for name in names)
    return {
        "count": count,
        "seconds": seconds,
        "perSecond": count / seconds,
        "creatingSeconds": creating_s,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99) - 1],
        "max": latencies[-1],
        "latencies": latencies,
    }


async def ceiling(api: Api, namespace: str, count: int) -> dict[str, float]:
    """Time just the two writes, Secret and status, from this bare client, with no operator at work."""
    names = [f"ceiling-{number:05d}" for number in range(count)]
    await create_all(api, namespace, names, "no-such-policy", {})
    pem = base64.b64encode(b"-" * 1800).decode()
    key = base64.b64encode(b"-" * 240).decode()
    status = {"observedGeneration": 1, "serialNumber": "00:" * 19 + "00", "revision": 1, "conditions": [_ready()]}
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    certificates = f"{CERTIFICATES}/namespaces/{namespace}/certificates"
    waiting = list(names)

    async def writer() -> None:
        while waiting:
            name = waiting.pop()
            await api.send("POST", secrets, _secret(f"{name}-tls", pem, key))
            await api.send(
                "PATCH",
                f"{certificates}/{name}/status",
                {"status": status},
                content_type="application/merge-patch+json",
            )

    begin = time.monotonic()
    await asyncio.gather(*(writer() for _ in range(32)))
    seconds = time.monotonic() - begin
    for collection in (certificates, secrets):
        await api.send("DELETE", collection, {})
    return {"count": count, "seconds": seconds, "perSecond": count / seconds}


def _ready() -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "Certificate is up to date and has not expired",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def _secret(name: str, pem: str, key: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "labels": {"bench": "ceiling"}},
        "data": {"tls.crt": pem, "ca.crt": pem, "tls.key": key},
    }


async def main(arguments: list[str]) -> None:
    """`load KUBECONFIG issue NAMESPACE PREFIX COUNT POLICY` or `load KUBECONFIG ceiling NAMESPACE COUNT`."""
    kubeconfig, what, namespace, *rest = arguments
    credentials = await load_credentials(kubeconfig)
    async with open_session(credentials, connections=64) as session:
        api = Api(session, credentials.server)
        if what == "issue":
            prefix, count, policy = rest
            figures: dict[str, Any] = await issue(api, namespace, prefix, int(count), policy)
        else:
            figures = await ceiling(api, namespace, int(rest[0]))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:]))
