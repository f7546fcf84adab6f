"""Asks for a renewal as a person does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


def renew(world: World, namespace: str, name: str) -> Manifest:
    """Ask for a renewal, wait for it, and give the Certificate as it is then: with another serial."""
    former = world.certificate(namespace, name)["status"]
    asked = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {"clm-operator.io/renew-requested-at": asked}
    world.api.patch("Certificate", namespace, name, {"metadata": {"annotations": annotations}})

    def look() -> Manifest | None:
        body = world.wait_ready(namespace, name)
        return body if body["status"]["serialNumber"] != former["serialNumber"] else None

    return wait(look, f"{name} to be renewed")
