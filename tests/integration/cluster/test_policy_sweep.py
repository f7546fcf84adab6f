"""A Policy that was deleted while nobody watched allows nothing any more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from clm.cluster import paths
from clm.controllers.policies import PolicyController
from clm.lifecycle.view import ClusterView

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient
    from tests.integration.cluster.conftest import Clients

_DEADLINE_S = 20.0


def _policy(name: str) -> dict[str, object]:
    return {
        "apiVersion": "clm-operator.io/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {"issuer": {"selfSigned": {}}, "allowed": {"isCA": True}},
    }


def test_a_deleted_policy_goes_with_the_sweep(clients: Clients) -> None:
    """No event tells of its end; the list of what stands does, and wakes whoever refers to it."""

    async def act(client: ApiClient) -> list[str]:
        view, woken = ClusterView(), asyncio.Queue[str]()
        controller = PolicyController(
            view=view,
            client=client,
            issuer=cast("Any", None),
            changed=woken.put_nowait,
            clock=lambda: datetime.now(UTC),
        )
        for name in ("sweep-gone", "sweep-stays"):
            controller.observed(None, await client.create(paths.POLICIES, _policy(name)))
        assert [await woken.get() for _ in range(2)] == ["sweep-gone", "sweep-stays"]
        await client.request("DELETE", f"{paths.POLICIES}/sweep-gone")
        sweep = asyncio.create_task(controller.run_sweep(client, interval_s=0.05))
        try:
            async with asyncio.timeout(_DEADLINE_S):
                assert await woken.get() == "sweep-gone"
        finally:
            sweep.cancel()
            await asyncio.gather(sweep, return_exceptions=True)
            await client.request("DELETE", f"{paths.POLICIES}/sweep-stays")
        return [policy.name for policy in view.policies()]

    assert clients.run(act) == ["sweep-stays"]
