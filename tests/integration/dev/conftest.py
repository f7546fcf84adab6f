"""A folder that the user whom PostgreSQL runs as can reach; pytest's own are closed to everybody else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.processes import ProcessTable

if TYPE_CHECKING:
    from collections.abc import Iterator


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
