"""A process of CLM's own in the environment: started with settings, known by its code, ready when it says so."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clm.dev.code import code_identity
from clm.dev.files import import_path
from clm.dev.ports import LOOPBACK, remembered_ports
from clm.dev.state import write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    from pathlib import Path

    from clm.dev.processes import ProcessTable
    from clm.dev.state import StateFolder

READY_TIMEOUT_S = 90.0

_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 5.0

# For `clm dev` and the scripts around it, and none of a process's business, least of all the migrator's passwords.
_NOT_PASSED_ON = frozenset(
    {
        "CLM_DEV_STATE",
        "CLM_VENV",
        "CLM_SECURE_MIGRATOR_DSN",
        "CLM_CORE_MIGRATOR_DSN",
        "CLM_CORE_RESPONDER_DSN",
    }
)


@dataclass(frozen=True, slots=True)
class Service:
    """`clm COMMAND`, detached."""

    state: StateFolder
    processes: ProcessTable

    command: ClassVar[str]

    @property
    def name(self) -> str:
        """Name of the process, its records and its log."""
        return f"clm-{self.command}"

    def start(self, settings: dict[str, str], *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start it, or start it again if its settings or its code have changed, and wait until it is ready.

        CLM_* variables of the caller's environment are passed on, and `settings` come first. Blocking. Raises
        StartFailed.
        """
        settings = {**self.inherited(), **settings}
        self.stop_outdated()
        if self.recorded_settings() != settings:
            self.processes.stop(self.name)
        self.record(settings)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
        environment |= {"PYTHONPATH": import_path(), "PYTHONUNBUFFERED": "1", **settings}
        command = [sys.executable, "-P", "-m", "clm.cli.main", self.command]
        self.processes.start(self.name, command, environment=environment)
        self._await_ready(int(settings["CLM_HEALTH_PORT"]), time.monotonic() + timeout_s)

    def stop(self) -> None:
        """Stop it, if it runs. Blocking. Raises StartFailed."""
        self.processes.stop(self.name)

    def stop_outdated(self) -> None:
        """Stop one that was started from other code than this. Blocking. Raises StartFailed."""
        if self._code_file.exists() and self._code_file.read_text(encoding="ascii") == code_identity():
            return
        self.stop()

    def problem(self) -> str | None:
        """Tell why it is not ready; None if it is."""
        if self.processes.find(self.name) is None:
            return "not running"
        port = remembered_ports(self.ports_file).get("health")
        return "no port" if port is None else _probe(port)

    def recorded_settings(self) -> dict[str, str] | None:
        """Read the settings that it was started with last."""
        return (
            dict(json.loads(self._settings_file.read_text(encoding="utf-8"))) if self._settings_file.exists() else None
        )

    def inherited(self) -> dict[str, str]:
        """What the caller of `clm dev` has chosen for it."""
        passed = os.environ.items()
        return {name: value for name, value in passed if name.startswith("CLM_") and name not in _NOT_PASSED_ON}

    def record(self, settings: dict[str, str]) -> None:
        """Note what it is started with."""
        write_private(self._code_file, code_identity())
        write_private(self._settings_file, json.dumps(settings))

    def forget(self) -> None:
        """Stop it, and have it not belong to the environment any more. Blocking. Raises StartFailed."""
        self.stop()
        self._settings_file.unlink(missing_ok=True)

    @property
    def ports_file(self) -> Path:
        """Where its ports are remembered."""
        return self.state.root / f"{self.command}-ports.json"

    @property
    def _code_file(self) -> Path:
        return self.state.run / f"{self.name}.code"

    @property
    def _settings_file(self) -> Path:
        return self.state.run / f"{self.name}.settings.json"

    def _await_ready(self, port: int, deadline: float) -> None:
        log, last = self.processes.log(self.name), "no answer yet"
        while time.monotonic() < deadline:
            if self.processes.find(self.name) is None:
                raise StartFailed(f"the {self.command} has ended; log: {log}\n{self.processes.tail(self.name)}")
            problem = _probe(port)
            if problem is None:
                return
            last = problem
            time.sleep(_POLL_S)
        raise StartFailed(f"the {self.command} is not ready: {last}; log: {log}")


def _probe(port: int) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{LOOPBACK}:{port}/readyz", timeout=_REQUEST_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode(errors="replace").strip()
    except (OSError, urllib.error.URLError) as error:
        return str(error)
