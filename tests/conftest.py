"""Loads the fixtures: every tests/fix_*.py is a plugin."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, settings

pytest_plugins = [f"tests.{path.stem}" for path in sorted(Path(__file__).parent.glob("fix_*.py"))]

# Other work shares the machine: how long an example takes says nothing about the code.
settings.register_profile("clm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clm")
