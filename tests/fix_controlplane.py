"""A real API server for tests: etcd, kube-apiserver and kube-controller-manager, as `clm dev` runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from clm.dev import cluster
from clm.dev.binaries import ControlPlaneBinaries, find_binaries
from clm.dev.controlplane import ControlPlane
from clm.dev.processes import ProcessTable
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def control_plane_binaries() -> ControlPlaneBinaries:
    """The programs, from KUBEBUILDER_ASSETS or the cache; without them the tests fail rather than prove nothing."""
    try:
        return find_binaries(os.environ)
    except StartFailed as error:
        pytest.fail(str(error))


def make_control_plane(folder: Path, binaries: ControlPlaneBinaries) -> ControlPlane:
    """Make a control plane, not started, with everything below `folder`."""
    run, logs = folder / "run", folder / "logs"
    for path in (run, logs):
        path.mkdir(parents=True, exist_ok=True)
    return ControlPlane(folder / "control-plane", binaries, ProcessTable(run, logs))


@pytest.fixture(scope="session")
def control_plane(
    tmp_path_factory: pytest.TempPathFactory, control_plane_binaries: ControlPlaneBinaries
) -> Iterator[ControlPlane]:
    """A running control plane that serves the three definitions, shared by the whole test run.

    Tests use objects and namespaces with names of their own.
    """
    plane = make_control_plane(tmp_path_factory.mktemp("control-plane"), control_plane_binaries)
    plane.folder.mkdir(mode=0o700)
    try:
        plane.start()
        cluster.apply(plane.kubeconfig, cluster.definitions())
        yield plane
    finally:
        plane.stop()
