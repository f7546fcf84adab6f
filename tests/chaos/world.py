"""A world to break: the embedded environment's parts, each of which can be taken away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clm.dev import cluster
from clm.dev.binaries import find_binaries
from clm.dev.controlplane import ControlPlane
from clm.dev.databases import DATABASES, DevDatabase
from clm.dev.processes import ProcessTable
from clm.dev.state import StateFolder
from clm.dev.token import find_module, prepare_token

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER_ID = "6f1c1f2e-6c39-4a63-9d8c-1f1f0a3b9b11"


@dataclass(slots=True)
class World:
    """Control plane, two databases and a token below one folder, and the operator as a child of this process."""

    folder: Path
    state: StateFolder = field(init=False)
    processes: ProcessTable = field(init=False)
    control_plane: ControlPlane = field(init=False)
    settings: dict[str, str] = field(init=False)
    _operator: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Lay out the folder; nothing is started."""
        self.state = StateFolder(self.folder)
        self.processes = ProcessTable(self.state.run, self.state.logs)
        self.control_plane = ControlPlane(self.state.control_plane, find_binaries(os.environ), self.processes)

    def start(self) -> None:
        """Start everything but the operator."""
        self.state.prepare()
        dsns = {name: DevDatabase(self.state, name).start() for name in DATABASES}
        token = prepare_token(self.state.token, find_module(os.environ))
        self.control_plane.start()
        base = [*cluster.definitions(), cluster.namespace("clm-system")]
        cluster.apply(self.control_plane.kubeconfig, [*base, *cluster.rights()])
        self.settings = {
            "CLM_SECURE_DSN": dsns["secure"],
            "CLM_CORE_DSN": dsns["core"],
            "CLM_PKCS11_MODULE": str(token.module),
            "CLM_TOKEN_LABEL": token.label,
            "CLM_TOKEN_SERIAL": token.serial,
            "CLM_TOKEN_PIN_FILE": str(token.pin_file),
            "CLM_CLUSTER_ID": CLUSTER_ID,
            "CLM_SWEEP_INTERVAL_S": "5",
            "KUBECONFIG": str(self.control_plane.controller_kubeconfig),
            "SOFTHSM2_CONF": str(token.configuration),
        }

    def stop(self) -> None:
        """End everything that this world started."""
        self.kill_operator()
        self.control_plane.stop()
        for name in DATABASES:
            DevDatabase(self.state, name).stop()

    def environment(self, **more: str) -> dict[str, str]:
        """Environment of a program of CLM in this world."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": f"{REPOSITORY / 'operator'}{os.pathsep}{REPOSITORY}",
            **self.settings,
            **more,
        }

    def start_operator(self, *, boundary: str | None = None, passes: int = 1) -> None:
        """Start the operator; with a boundary it will kill itself there."""
        more = {"CLM_CHAOS_BOUNDARY": boundary, "CLM_CHAOS_PASSES": str(passes)} if boundary else {}
        self._log = self.operator_log.open("ab")
        self._operator = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.operator_process"],
            env=self.environment(**more),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def operator_log(self) -> Path:
        """Output of every operator of this world, one after another."""
        return self.state.logs / "operator.log"

    def await_death(self, timeout_s: float) -> bool:
        """Wait for the operator to die; tell whether it did."""
        if self._operator is None:
            return True
        try:
            self._operator.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._forget()
        return True

    def kill_operator(self) -> None:
        """End the operator with SIGKILL."""
        if self._operator is not None:
            self._operator.kill()
            self._operator.wait()
            self._forget()

    def operator_is_running(self) -> bool:
        """Tell whether the operator runs."""
        return self._operator is not None and self._operator.poll() is None

    def _forget(self) -> None:
        self._operator = None
        if self._log is not None:
            self._log.close()
            self._log = None

    @contextmanager
    def without(self, dependency: str) -> Iterator[None]:
        """Take a dependency away, the hard way, and bring it back."""
        match dependency:
            case "token":
                yield from self._without_token()
            case "secure database" | "core database":
                yield from self._without_database("secure" if dependency.startswith("secure") else "core")
            case "API server":
                yield from self._without_api_server()
            case _:
                raise ValueError(dependency)

    def _without_token(self) -> Iterator[None]:
        tokens = self.state.token / "tokens"
        away = self.state.token / "tokens-away"
        tokens.rename(away)
        try:
            yield
        finally:
            if tokens.exists():
                shutil.rmtree(tokens)  # the module made an empty one meanwhile
            away.rename(tokens)

    def _without_database(self, name: str) -> Iterator[None]:
        database = DevDatabase(self.state, name)  # type: ignore[arg-type]
        postmaster = int((self.state.postgres(name) / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        try:
            yield
        finally:
            database.start()

    def _without_api_server(self) -> Iterator[None]:
        process = self.processes.find("kube-apiserver")
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        try:
            yield
        finally:
            _insist(self.control_plane.start)


def _insist(start: object, *, attempts: int = 20) -> None:
    # Right after a kill it may still count as running, or hold its port.
    for attempt in range(attempts):
        try:
            start()  # type: ignore[operator]
        except Exception:
            if attempt == attempts - 1:
                raise
            time.sleep(0.5)
        else:
            return
