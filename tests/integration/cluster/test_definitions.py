"""kopf looks once what is served: before that, all three kinds have to be."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from clm.cluster.definitions import KINDS, require_served
from clm.dev import cluster
from clm.errors import ClusterUnavailable
from tests.fix_controlplane import make_control_plane
from tests.integration.cluster.conftest import Clients

if TYPE_CHECKING:
    from pathlib import Path

    from clm.cluster.client import ApiClient
    from clm.dev.binaries import ControlPlaneBinaries

_DEADLINE_S = 30.0
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_each_kind_is_insisted_on(tmp_path: Path, control_plane_binaries: ControlPlaneBinaries) -> None:
    """Without definitions none is served; with all of them each comes in time; one that is taken away is missed."""
    plane = make_control_plane(tmp_path, control_plane_binaries)
    plane.folder.mkdir(mode=0o700)
    plane.start()
    try:
        clients = Clients(plane.kubeconfig, plane.controller_kubeconfig)
        clients.run(lambda client: _await_missing(client, set(KINDS)))
        cluster.apply(plane.kubeconfig, [*cluster.definitions(), cluster.namespace("clm-system"), *cluster.rights()])
        clients.run(lambda client: _await_missing(client, set()), controller=True)
        clients.run(lambda client: client.request("DELETE", f"{_CRDS}/policies.clm-operator.io"))
        clients.run(lambda client: _await_missing(client, {"policies.clm-operator.io"}), controller=True)
    finally:
        plane.stop()


async def _await_missing(client: ApiClient, wanted: set[str]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while (missing := await _missing(client)) != wanted:
        assert time.monotonic() < deadline, missing
        await asyncio.sleep(0.05)


async def _missing(client: ApiClient) -> set[str]:
    missing = set()
    for definition in KINDS:
        try:
            await require_served(client, definition)
        except ClusterUnavailable:
            missing.add(definition)
    return missing
