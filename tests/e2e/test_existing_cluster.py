"""`clm dev up --kubeconfig`: databases, token and operator on this machine, for a cluster that was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.controller import ControllerProcess
from clm.dev.demonstration import apply_examples, await_ready, collect, example_certificates
from clm.dev.environment import Environment
from clm.dev.kubectl import find_kubectl
from clm.dev.state import StateFolder
from tests.fix_controlplane import make_control_plane

if TYPE_CHECKING:
    from clm.dev.binaries import ControlPlaneBinaries

TIMEOUT_S = 120.0


def serve(kubeconfig: Path) -> None:
    """Have the examples issued in a cluster, and verified; nothing of CLM's is left running.

    Then the same in the embedded cluster, with the same databases and token: it gets certificates of its own.
    """
    # Not below pytest's folder: PostgreSQL runs as another user there, and socket paths have to be short.
    folder = Path(tempfile.mkdtemp(prefix="clm-e2e-"))
    environment = Environment(StateFolder(folder), lambda *_: None)
    try:
        environment.up(kubeconfig=kubeconfig)
        status = environment.status()
        assert status["ready"]
        assert status["kubeconfig"] == str(kubeconfig)
        assert "kube-apiserver" not in status["processes"]
        given, first = examples(status["kubeconfig"]), cluster_id(environment)
        environment.up()
        embedded = examples(environment.status()["kubeconfig"])
        assert cluster_id(environment) != first
        assert not given & embedded, "a cluster has adopted what another one's objects were given"
        environment.up(kubeconfig=kubeconfig)
        assert cluster_id(environment) == first
    finally:
        environment.down(delete=True)


def examples(kubeconfig: str) -> set[str]:
    """Apply the examples, and wait until each has a certificate that verifies; give the serials."""
    kubectl = find_kubectl(os.environ, kubeconfig)
    apply_examples(kubectl, publish=False)
    await_ready(kubectl, example_certificates(), timeout_s=TIMEOUT_S, progress=lambda *_: None)
    shown = {(item.namespace, item.name): item for item in collect(kubectl)}
    chains = {name: shown[name].chain for name in example_certificates()}
    assert chains == dict.fromkeys(example_certificates(), "verified")
    return {shown[name].serial for name in example_certificates()}


def cluster_id(environment: Environment) -> str:
    """The id under which the databases know the cluster that is served."""
    settings = ControllerProcess(environment.state, environment.processes).recorded_settings()
    assert settings is not None
    return settings["CLM_CLUSTER_ID"]


@pytest.mark.slow
def test_any_cluster(tmp_path: Path, control_plane_binaries: ControlPlaneBinaries) -> None:
    """An API server that somebody else has started, with nothing of CLM in it."""
    plane = make_control_plane(tmp_path, control_plane_binaries)
    plane.folder.mkdir(mode=0o700)
    try:
        plane.start()
        serve(plane.kubeconfig)
    finally:
        plane.stop()


@pytest.mark.kind
def test_kind(kind_cluster: object) -> None:
    """The same with kind, a whole Kubernetes in Docker: `pytest -m kind tests/e2e/test_existing_cluster.py`."""
    serve(Path(kind_cluster.kubeconfig_path))  # type: ignore[attr-defined]
