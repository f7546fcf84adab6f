"""`clm dev up --kubeconfig`: databases, token and operator on this machine, for a cluster that was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.demonstration import apply_examples, await_ready, collect, example_certificates
from clm.dev.environment import Environment
from clm.dev.kubectl import find_kubectl
from clm.dev.state import StateFolder
from tests.fix_controlplane import make_control_plane

if TYPE_CHECKING:
    from clm.dev.binaries import ControlPlaneBinaries

TIMEOUT_S = 120.0


def serve(kubeconfig: Path) -> None:
    """Have the examples issued in a cluster, and verified; nothing of CLM's is left running."""
    # Not below pytest's folder: PostgreSQL runs as another user there, and socket paths have to be short.
    folder = Path(tempfile.mkdtemp(prefix="clm-e2e-"))
    environment = Environment(StateFolder(folder), lambda *_: None)
    try:
        environment.up(kubeconfig=kubeconfig)
        status = environment.status()
        assert status["ready"]
        assert status["kubeconfig"] == str(kubeconfig)
        assert "kube-apiserver" not in status["processes"]
        kubectl = find_kubectl(os.environ, str(kubeconfig))
        apply_examples(kubectl)
        await_ready(kubectl, example_certificates(), timeout_s=TIMEOUT_S, progress=lambda *_: None)
        shown = {(item.namespace, item.name): item.chain for item in collect(kubectl)}
        assert {name: shown[name] for name in example_certificates()} == dict.fromkeys(
            example_certificates(), "verified"
        )
    finally:
        environment.down(delete=True)


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
