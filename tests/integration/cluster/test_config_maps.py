"""ConfigMaps with roots, on a real API server."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from clm.cluster import paths
from clm.cluster.config_maps import POLICY_LABEL, BundleContent, BundleVersion, BundleWatch, ConfigMapStore
from clm.errors import NotOurs, StaleObject
from tests.integration.cluster.conftest import opened

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient
    from tests.integration.cluster.conftest import Clients

_numbers = count(1)
_DEADLINE_S = 20.0


def _content(roots: str = "PEM", *, policy: str = "uid-1") -> BundleContent:
    return BundleContent(config_map="roots", policy_uid=policy, policy_name="internal", roots=roots)


async def _namespace(admin: ApiClient) -> str:
    name = f"config-maps-{next(_numbers)}"
    await admin.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


async def _publish(
    store: ConfigMapStore, namespace: str, content: BundleContent, known: BundleVersion | None, *, take: bool = False
) -> BundleVersion:
    version, _ = await store.publish(namespace, content, known=known, may_take=lambda _: take)
    return version


def test_what_is_ours_is_made_put_right_and_deleted(clients: Clients) -> None:
    """Foreign data goes, labels and annotations of others stay, and what stands as it should is not written."""

    async def act() -> None:
        async with opened(clients.admin) as admin:
            namespace, store = await _namespace(admin), ConfigMapStore(admin)
            path = paths.config_map(namespace, "roots")
            first = await _publish(store, namespace, _content(), None)
            assert first.digest == _content().digest
            assert await _publish(store, namespace, _content(), first) == first
            edit: dict[str, Any] = {
                "metadata": {"labels": {"theirs": "x", POLICY_LABEL: None}, "annotations": {"theirs": "y"}},
                "data": {"ca.crt": "forged", "more": "z"},
                "binaryData": {"blob": "AAAA"},
            }
            await admin.merge_patch(f"{path}?fieldManager=person", edit)
            mended, writer = await store.publish(namespace, _content(), known=first, may_take=lambda _: False)
            assert mended.digest == _content().digest
            assert writer.startswith("person (Update at ")
            found = await admin.get(path)
            assert found is not None
            assert found["data"] == {"ca.crt": "PEM"}
            assert "binaryData" not in found
            assert found["metadata"]["labels"]["theirs"] == "x"
            assert found["metadata"]["annotations"]["theirs"] == "y"
            with pytest.raises(StaleObject):
                await store.delete(namespace, "roots", first)
            await store.delete(namespace, "roots", mended)
            assert await admin.get(path) is None
            await store.delete(namespace, "roots", mended)

    asyncio.run(act())


def test_what_is_not_ours_is_left_alone(clients: Clients) -> None:
    """Neither a ConfigMap of a person nor one of another Policy, unless that one gave it up."""

    async def act() -> None:
        async with opened(clients.admin) as admin:
            namespace, store = await _namespace(admin), ConfigMapStore(admin)
            theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": {"ca.crt": "x"}}
            made = await admin.create(paths.config_maps(namespace), theirs)
            with pytest.raises(NotOurs, match="is not CLM's"):
                await _publish(store, namespace, _content(), None, take=True)
            assert await admin.get(paths.config_map(namespace, "roots")) == made
            await admin.request("DELETE", paths.config_map(namespace, "roots"))
            await _publish(store, namespace, _content(), None)
            with pytest.raises(NotOurs, match="another Policy"):
                await _publish(store, namespace, _content(policy="uid-2"), None)
            taken = await _publish(store, namespace, _content(policy="uid-2"), None, take=True)
            assert taken.policy_uid == "uid-2"

    asyncio.run(act())


def test_the_watch_brings_what_stands_and_every_change(clients: Clients) -> None:
    """Listed at the start with what it holds, so that a restart compares and remembers nothing."""

    async def act() -> None:
        async with opened(clients.admin) as admin:
            namespace, store = await _namespace(admin), ConfigMapStore(admin)
            first = await _publish(store, namespace, _content(), None)
            news = asyncio.Queue[tuple[str, str]]()
            watch = BundleWatch(admin, lambda *name: news.put_nowait(name))
            running = asyncio.create_task(watch.run())
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    await watch.synced.wait()
                    assert watch.version(namespace, "roots") == first
                    await admin.merge_patch(paths.config_map(namespace, "roots"), {"data": {"ca.crt": "forged"}})
                    assert await news.get() == (namespace, "roots")
                    changed = watch.version(namespace, "roots")
                    assert changed is not None
                    assert changed.digest != first.digest
                    await admin.request("DELETE", paths.config_map(namespace, "roots"))
                    assert await news.get() == (namespace, "roots")
                    assert watch.version(namespace, "roots") is None
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())
