"""The whole of CLM, up once for a test run: what `clm dev up` starts, in a folder of its own."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.environment import Environment
from clm.dev.state import StateFolder
from tests.e2e import manifests
from tests.e2e.api import Api
from tests.e2e.world import World, server_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# What an installation may choose, chosen so that a test need not wait for minutes: for the relay, or for the word on an
# outage, which comes after longer than an API server needs to load what it has just been told.
_SETTINGS = {
    "CLM_SWEEP_INTERVAL_S": "1",
    "CLM_RENEWAL_INTERVAL_S": "1",
    "CLM_OUTAGE_REPORT_AFTER_S": "5",
    "CLM_KEY_STATE_INTERVAL_S": "1",
    "CLM_AUTHORITY_HEALTH_INTERVAL_S": "1",
    "CLM_KEYSTORE_PASSWORD_INTERVAL_S": "1",
    "CLM_AUDIT_SEAL_INTERVAL_S": "1",
    "CLM_AUDIT_ANCHOR_INTERVAL_S": "1",
}

_numbers = count(1)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The environment with a root and an issuing CA, and Policies that allow everything to every namespace."""
    # Not below pytest's folder: PostgreSQL runs as another user there, and socket paths have to be short.
    folder = Path(tempfile.mkdtemp(prefix="clm-e2e-"))
    environment = Environment(StateFolder(folder), lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _SETTINGS.items():
            patch.setenv(name, value)
        try:
            environment.up()
            yield from prepared(environment)
        finally:
            environment.down(delete=True)


@pytest.fixture
def namespace(world: World) -> Iterator[str]:
    """A namespace of this test alone. Its Certificates go with the test, so that what is broken does not pile up."""
    name = f"e2e-{next(_numbers)}"
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    world.api.delete_certificates(name)


def prepared(environment: Environment) -> Iterator[World]:
    """Lend an environment that is up, with the Policies and the two CAs that tests start from."""
    kubeconfig = Path(environment.status()["kubeconfig"])
    api = Api(server_of(kubeconfig), environment.state.control_plane / "identities")
    world = World(environment, api, kubeconfig)
    try:
        world.apply(manifests.policy(manifests.ROOT, {"selfSigned": {}}))
        world.apply(manifests.policy(manifests.ISSUING, manifests.issued_by(manifests.ROOT)))
        world.apply(manifests.policy(manifests.LEAF, manifests.issued_by(manifests.ISSUING)))
        for name, duration in ((manifests.ROOT, "87600h"), (manifests.ISSUING, "43800h")):
            world.apply(manifests.authority(manifests.CA_NAMESPACE, name, name, duration=duration))
        world.wait_ready(manifests.CA_NAMESPACE, manifests.ISSUING)
        yield world
    finally:
        api.close()
