"""The operator as a process of the environment: its settings, its start, its readiness."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.dev.code import code_identity
from clm.dev.files import import_path
from clm.dev.ports import LOOPBACK, choose_ports, keep_port, remembered_ports
from clm.dev.state import write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from clm.dev.processes import ProcessTable
    from clm.dev.state import StateFolder
    from clm.dev.token import DevToken

NAME = "clm-controller"
READY_TIMEOUT_S = 90.0
RESPONDER_PORTS = "responder-ports.json"
"""File of the state folder with the responder's port. Certificates name it: it is chosen once."""

_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 5.0

# For `clm dev` and the scripts around it, and none of the operator's business, least of all the migrator's passwords.
_NOT_PASSED_ON = frozenset({"CLM_DEV_STATE", "CLM_VENV", "CLM_SECURE_MIGRATOR_DSN", "CLM_CORE_MIGRATOR_DSN"})


@dataclass(frozen=True, slots=True)
class ControllerProcess:
    """`clm controller`, detached."""

    state: StateFolder
    processes: ProcessTable

    @property
    def _ports_file(self) -> Path:
        return self.state.root / "controller-ports.json"

    @property
    def _code_file(self) -> Path:
        return self.state.run / f"{NAME}.code"

    def settings(
        self, *, dsns: dict[str, str], token: DevToken, kubeconfig: Path, cluster: uuid.UUID
    ) -> dict[str, str]:
        """Compose the operator's settings, as environment variables."""
        running = self.processes.find(NAME) is not None
        ports = remembered_ports(self._ports_file) if running else choose_ports(self._ports_file, ["health"])
        return {
            "CLM_SECURE_DSN": dsns["secure"],
            "CLM_CORE_DSN": dsns["core"],
            "CLM_PKCS11_MODULE": str(token.module),
            "CLM_TOKEN_LABEL": token.label,
            "CLM_TOKEN_SERIAL": token.serial,
            "CLM_TOKEN_PIN_FILE": str(token.pin_file),
            "CLM_CLUSTER_ID": str(cluster),
            "CLM_HEALTH_PORT": str(ports["health"]),
            "CLM_PUBLIC_URL": f"http://{LOOPBACK}:{keep_port(self.state.root / RESPONDER_PORTS, 'responder')}",
            "KUBECONFIG": str(kubeconfig),
            "SOFTHSM2_CONF": str(token.configuration),
        }

    def start(self, settings: dict[str, str], *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the operator, or start it again if its settings or its code have changed, and wait until it is ready.

        CLM_* variables of the caller's environment are passed on, and `settings` come first. Blocking. Raises
        StartFailed.
        """
        settings = {**_inherited(), **settings}
        self.stop_outdated()
        if self.recorded_settings() != settings:
            self.processes.stop(NAME)
        self._record(settings)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
        environment |= {"PYTHONPATH": import_path(), "PYTHONUNBUFFERED": "1", **settings}
        command = [sys.executable, "-P", "-m", "clm.cli.main", "controller"]
        self.processes.start(NAME, command, environment=environment)
        self._await_ready(int(settings["CLM_HEALTH_PORT"]), time.monotonic() + timeout_s)

    def stop_outdated(self) -> None:
        """Stop an operator that was started from other code than this. Blocking. Raises StartFailed."""
        if self._code_file.exists() and self._code_file.read_text(encoding="ascii") == code_identity():
            return
        self.processes.stop(NAME)

    def problem(self) -> str | None:
        """Tell why the operator is not ready; None if it is."""
        if self.processes.find(NAME) is None:
            return "not running"
        port = remembered_ports(self._ports_file).get("health")
        return "no port" if port is None else _probe(port)

    def recorded_settings(self) -> dict[str, str] | None:
        """Read the settings that the operator was started with last."""
        file = self.state.run / f"{NAME}.settings.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def _await_ready(self, port: int, deadline: float) -> None:
        log, last = self.processes.log(NAME), "no answer yet"
        while time.monotonic() < deadline:
            if self.processes.find(NAME) is None:
                raise StartFailed(f"the controller has ended; log: {log}\n{self.processes.tail(NAME)}")
            problem = _probe(port)
            if problem is None:
                return
            last = problem
            time.sleep(_POLL_S)
        raise StartFailed(f"the controller is not ready: {last}; log: {log}")

    def _record(self, settings: dict[str, str]) -> None:
        write_private(self._code_file, code_identity())
        write_private(self.state.run / f"{NAME}.settings.json", json.dumps(settings))
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in settings.items()]
        write_private(self.state.environment_file, "".join(lines))


def _inherited() -> dict[str, str]:
    """What the caller of `clm dev` has chosen for the operator."""
    return {name: value for name, value in os.environ.items() if name.startswith("CLM_") and name not in _NOT_PASSED_ON}


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
