"""`clm dev` as a command, on a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clm.dev.controller import NAME as CONTROLLER
from clm.dev.controlplane import PROGRAMS
from clm.dev.files import import_path
from clm.dev.processes import ProcessTable

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Command:
    """`clm dev` on a state folder of its own."""

    state: Path
    prefix: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Its output goes to a file: a process it leaves must not hold a pipe open."""
        return subprocess.run(
            [*self.prefix, *arguments],
            env={**self.environment, **extra},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def succeed(self, *arguments: str, **extra: str) -> str:
        """Run a command that must succeed; give its output."""
        done = self.run(*arguments, **extra)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """What `clm dev status` says."""
        return dict(json.loads(self.run("status", "-o", "json").stdout))

    def logs(self) -> str:
        """Ends of all logs."""
        table = ProcessTable(self.state / "run", self.state / "logs")
        return "\n".join(f"{name}: {table.tail(name)}" for name in (*PROGRAMS, "clm-controller", "clm-responder"))

    def running(self) -> list[str]:
        """Every process whose command line or environment names the state folder, whoever started it."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes()
                named = os.fsencode(self.state) in line + (path / "environ").read_bytes()
            except OSError:
                continue
            if named:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def operator(self) -> int:
        """Process id of the operator."""
        return int(self.status()["processes"][CONTROLLER])


def environment_for(state: Path, assets: Path) -> dict[str, str]:
    """Environment of a command, without what the developer's own shell may have set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CLM_", "SOFTHSM2_"))}
    chosen = {"CLM_DEV_STATE": str(state), "KUBEBUILDER_ASSETS": str(assets), "PYTHONPATH": import_path()}
    return {**inherited, **chosen}
