"""A part of the crash harness, for every run of the tests. `make chaos` runs the whole of it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.run import DEPENDENCIES, KEY_BOUNDARIES, PATH_BOUNDARIES, chaos

KILLS = 2 * (len(KEY_BOUNDARIES) + len(PATH_BOUNDARIES)) + 4


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_issued_twice() -> None:
    """Promise 1: killed at every boundary and robbed of every dependency, the operator still keeps every promise."""
    seed = random.SystemRandom().randrange(10**9)
    # Not below pytest's folder: PostgreSQL runs as another user there, and socket paths have to be short.
    folder = Path(tempfile.mkdtemp(prefix="clm-chaos-"))
    broken, run = asyncio.run(chaos(folder, kills=KILLS, outages=1, generations=2, seed=seed))
    assert broken == [], f"repeat with --seed {seed}; logs: {run.world.state.logs}"
    assert run.tally.killed >= KILLS
    assert run.tally.outages == Counter(dict.fromkeys(DEPENDENCIES, 1))
    run.world.state.delete()
