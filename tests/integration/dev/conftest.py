"""A folder that the user whom PostgreSQL runs as can reach; pytest's own are closed to everybody else."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.processes import ProcessTable
from tests.integration.dev.command import Command, environment_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.dev.binaries import ControlPlaneBinaries


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that others may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="clm-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    """A process table whose processes end with the test."""
    table = ProcessTable(tmp_path, tmp_path)
    yield table
    for name in table.names():
        table.stop(name)


@pytest.fixture
def command(open_folder: Path, control_plane_binaries: ControlPlaneBinaries) -> Iterator[Command]:
    """`clm dev` as the user who runs the tests; whatever a test leaves is taken down."""
    state = open_folder / "state"
    environment = environment_for(state, control_plane_binaries.etcd.parent)
    command = Command(state, (sys.executable, "-P", "-m", "clm.cli.main", "dev"), environment)
    yield command
    command.succeed("down", "--delete")
