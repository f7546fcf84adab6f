"""What the end-to-end tests share beside the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.manifests import CA_NAMESPACE, certificate

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


@pytest.fixture(scope="session")
def due_soon(world: World) -> Manifest:
    """A certificate that is due a minute after its issuance, which is the earliest. Other tests pass the time."""
    world.apply(certificate(CA_NAMESPACE, "due-soon", duration="1h", renewBefore="54m30s"))
    return world.wait_ready(CA_NAMESPACE, "due-soon")
