"""A call into the HSM that never returns ends the operator, and the next one does the work."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.manifests import ISSUING, authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World

_DEADLINE_S = 60.0


def test_a_hung_call_ends_the_operator(world: World, namespace: str, tmp_path: Path) -> None:
    """It ends by itself, with an error and a word on why; the CA is made by the operator that follows."""
    world.stop_controller()
    log = tmp_path / "log"
    try:
        world.apply(authority(namespace, "ca", ISSUING))
        with log.open("wb") as output:
            command = [sys.executable, "-m", "tests.e2e.hanging_operator"]
            environment = {**world.program_environment(), "CLM_HSM_CALL_LIMIT_S": "1"}
            child = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                assert child.wait(_DEADLINE_S) == 1, log.read_text()
            finally:
                child.kill()
                child.wait()
        assert "a call into the HSM's library has been hanging" in log.read_text()
    finally:
        world.start_controller()
    world.wait_ready(namespace, "ca")
