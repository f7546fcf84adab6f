"""What CLM costs the API server, by the API server's own counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.manifests import certificate
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from tests.e2e.world import World

_CERTIFICATES = 50

# Of the control plane itself: leader election, and what a new namespace is furnished with.
_OTHERS = ("leases", "configmaps", "serviceaccounts", "namespaces", "events")


def _spent(world: World, before: dict[str, int]) -> dict[str, int]:
    """Count the writes since `before`, but for Events and what the control plane writes for itself."""
    after = world.api.writes()
    spent = {key: number - before.get(key, 0) for key, number in after.items()}
    return {key: number for key, number in spent.items() if number and key.split()[1].split("/")[0] not in _OTHERS}


def _not_ready(world: World, namespace: str) -> list[str]:
    path = f"/apis/clm-operator.io/v1alpha1/namespaces/{namespace}/certificates"
    return [
        item["metadata"]["name"]
        for item in world.api.items(path)
        if (condition(item, "Ready") or {}).get("status") != "True"
    ]


def test_two_writes_a_certificate_and_none_for_a_restart(world: World, namespace: str) -> None:
    """N certificates cost N Secrets, N statuses and at most N Events; a restart costs nothing at all."""
    world.wait_settled(certificates=0)
    before = world.api.writes()
    for number in range(_CERTIFICATES):
        world.api.create(certificate(namespace, f"web-{number}"))
    wait(lambda: None if _not_ready(world, namespace) else True, "every certificate to be Ready")
    assert _spent(world, before) == {
        "POST certificates": _CERTIFICATES,
        "POST secrets": _CERTIFICATES,
        "PATCH certificates/status": _CERTIFICATES,
    }

    world.stop_controller()
    assert len(world.api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")) <= _CERTIFICATES
    known = len(world.api.items("/apis/clm-operator.io/v1alpha1/certificates"))
    assert known >= _CERTIFICATES
    before = world.api.writes()
    world.start_controller()
    world.wait_settled(certificates=known)
    assert _spent(world, before) == {}
