"""Loads the fixtures: every tests/fix_*.py is a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest_plugins = [f"tests.{path.stem}" for path in sorted(Path(__file__).parent.glob("fix_*.py"))]

# Other work shares the machine: how long an example takes says nothing about the code.
settings.register_profile("clm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Keep together, where several processes share the tests, what shares a world, a server or a token.

    The end-to-end tests act in one world, in their order: the last of them looks back on all that it said.
    """
    end_to_end = Path(__file__).parent / "e2e"
    for item in items:
        name = "e2e" if item.path.is_relative_to(end_to_end) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
