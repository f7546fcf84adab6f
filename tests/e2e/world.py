"""The world that the end-to-end tests act in, and how they look at it."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import yaml
from psycopg.rows import dict_row

from clm.dev.controller import NAME as CONTROLLER
from clm.dev.controller import ControllerProcess
from clm.dev.databases import DevDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from clm.dev.environment import Environment
    from tests.e2e.api import Api, Manifest

    T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 30.0

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class World:
    """An environment that is up: control plane, two databases, token, and the operator with its own rights only."""

    environment: Environment
    api: Api
    kubeconfig: Path
    _without_rights: list[str] = field(default_factory=list)

    def apply(self, manifests: Manifest | str) -> Manifest:
        """Apply an object, or every one of a YAML text; give the last one as it is then."""
        documents = list(yaml.safe_load_all(manifests)) if isinstance(manifests, str) else [manifests]
        return [self.api.apply(document) for document in documents if document][-1]

    def certificate(self, namespace: str, name: str) -> Manifest:
        """Read a Certificate that exists."""
        found = self.api.get("Certificate", namespace, name)
        assert found is not None, f"there is no Certificate {namespace}/{name}"
        return found

    def condition(self, namespace: str, name: str, kind: str = "Ready") -> dict[str, Any] | None:
        """Read a condition of a Certificate; None while it has none for its newest generation."""
        return condition(self.certificate(namespace, name), kind)

    def wait_ready(self, namespace: str, name: str, *, timeout_s: float = READY_TIMEOUT_S) -> Manifest:
        """Wait until a Certificate is Ready for its newest generation; give it."""
        return self._wait_condition(namespace, name, {"status": "True"}, timeout_s)

    def wait_refused(
        self, namespace: str, name: str, reason: str, *, timeout_s: float = READY_TIMEOUT_S
    ) -> dict[str, Any]:
        """Wait until a Certificate is not Ready for this reason; give the condition."""
        found = self._wait_condition(namespace, name, {"status": "False", "reason": reason}, timeout_s)
        return condition(found, "Ready") or {}

    def wait_policy(self, name: str, *, status: str, saying: str = "") -> Manifest:
        """Wait until the Ready condition of a Policy has this status and says these words; give the object."""

        def look() -> Manifest | None:
            body = self.api.get("Policy", None, name) or {}
            found = condition(body, "Ready")
            fits = found is not None and found["status"] == status and saying in found["message"]
            return body if fits else None

        def last() -> str:
            return str((self.api.get("Policy", None, name) or {}).get("status"))

        return wait(look, f"Policy {name} to be Ready={status}", last=last)

    def wait_secret(self, wanted: Manifest) -> None:
        """Wait until a Secret says what it said once: type, data, labels and annotations."""
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]

        def look() -> bool | None:
            secret = self.api.get("Secret", namespace, name)
            return True if secret is not None and _content(secret) == _content(wanted) else None

        wait(look, f"Secret {namespace}/{name} to be as it was")

    def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """Read the data of a Secret that exists."""
        found = self.api.get("Secret", namespace, name)
        assert found is not None, f"there is no Secret {namespace}/{name}"
        return data_of(found)

    def query(self, database: str, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """Run one statement in "secure" or "core", as the superuser: whom no right and no policy binds."""
        found = DevDatabase(self.environment.state, "secure" if database == "secure" else "core")
        dsn = found.cluster().superuser_dsn(found.database)
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def recorded(self, body: Manifest) -> list[dict[str, Any]]:
        """Read what clm_secure_db has ever recorded under the name of a Certificate, oldest first."""
        return self.query(
            "secure",
            "SELECT id, revision, encode(serial_number, 'hex') AS serial, state, private_key_id FROM certificates"
            " WHERE namespace = %(namespace)s AND name = %(name)s ORDER BY created_at",
            namespace=body["metadata"]["namespace"],
            name=body["metadata"]["name"],
        )

    def settled(self, body: Manifest) -> list[dict[str, Any]]:
        """Read the same when the inventory has caught up, with its state of each in `core`."""

        def look() -> list[dict[str, Any]] | None:
            rows = self.recorded(body)
            ids = [row["id"] for row in rows]
            statement = "SELECT id, status FROM certificate_metadata WHERE id = ANY(%(ids)s)"
            states = {row["id"]: row["status"] for row in self.query("core", statement, ids=ids)}
            both = [{**row, "core": states.get(row["id"])} for row in rows]
            return both if all(row["core"] == row["state"] for row in both) else None

        return wait(look, "the inventory to be as recorded", timeout_s=10)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return server_of(self.kubeconfig)

    @property
    def identities(self) -> Path:
        """Folder of the identities that the control plane keeps, the administrator's among them."""
        return self.environment.state.control_plane / "identities"

    @property
    def controller(self) -> ControllerProcess:
        """The operator's process."""
        return ControllerProcess(self.environment.state, self.environment.processes)

    @property
    def settings(self) -> dict[str, str]:
        """The operator's settings, as environment variables."""
        recorded = self.controller.recorded_settings()
        assert recorded is not None
        return recorded

    @property
    def log(self) -> str:
        """All that every operator of this world has said."""
        return self.environment.processes.log(CONTROLLER).read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        """Have what the operator says in here not count as missing rights: a test has taken one away on purpose."""
        before = len(self.log)
        try:
            yield
        finally:
            self._without_rights.append(self.log[before:])

    @property
    def log_with_rights(self) -> str:
        """All that every operator of this world has said while it had its rights."""
        said = self.log
        for part in self._without_rights:
            said = said.replace(part, "")
        return said

    def stop_controller(self) -> float:
        """Stop the operator by SIGTERM; tell how many seconds that took."""
        began = time.monotonic()
        assert self.environment.processes.stop(CONTROLLER), "the controller did not run"
        return time.monotonic() - began

    def kill_controller(self) -> None:
        """Kill the operator by SIGKILL, and wait until it is gone: until then it would count as running."""
        process = self.environment.processes.find(CONTROLLER)
        assert process is not None, "the controller did not run"
        os.kill(process.pid, signal.SIGKILL)
        wait(lambda: True if self.environment.processes.find(CONTROLLER) is None else None, "the operator to be gone")

    def start_controller(self) -> None:
        """Start the operator and wait until it is ready."""
        self.controller.start(self.settings)

    def restart_controller(self) -> None:
        """Stop the operator and start it again."""
        self.stop_controller()
        self.start_controller()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Have the operator rest, with what it had begun finished: nothing changes but by the test's own hand."""
        self.stop_controller()
        try:
            yield
        finally:
            self.start_controller()

    def wait_settled(self, *, certificates: int) -> None:
        """Wait until the operator knows that many Certificates, all are as asked, and nothing waits in its queues."""

        def look() -> bool | None:
            metrics = self.metrics
            busy = metrics["clm_certificates_unsettled"] or metrics["clm_queue_depth"] or metrics["clm_policies_queued"]
            return True if metrics["clm_certificates"] >= certificates and not busy else None

        def last() -> str:
            return str({name: value for name, value in self.metrics.items() if name.startswith("clm_")})

        wait(look, f"the operator to settle {certificates} Certificates", last=last)

    @property
    def metrics(self) -> dict[str, float]:
        """The operator's metrics that have no labels."""
        url = f"http://127.0.0.1:{self.settings['CLM_HEALTH_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    def program_environment(self) -> dict[str, str]:
        """Environment of a program of this repository with the operator's settings."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": f"{REPOSITORY / 'operator'}{os.pathsep}{REPOSITORY}",
            **self.settings,
        }

    def program(self, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a Python module of this repository with the operator's settings."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            env=self.program_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _wait_condition(self, namespace: str, name: str, wanted: dict[str, str], timeout_s: float) -> Manifest:
        def look() -> Manifest | None:
            body = self.certificate(namespace, name)
            found = condition(body, "Ready") or {}
            return body if wanted.items() <= found.items() else None

        def last() -> str:
            return str(self.certificate(namespace, name).get("status", {}).get("conditions", "no conditions"))

        return wait(look, f"Certificate {namespace}/{name} to be {wanted}", timeout_s=timeout_s, last=last)


def server_of(kubeconfig: Path) -> str:
    """Address of the API server that a kubeconfig names."""
    return str(yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"])


def wait(
    look: Callable[[], T | None],
    what: str,
    *,
    timeout_s: float = READY_TIMEOUT_S,
    last: Callable[[], str] = lambda: "",
) -> T:
    """Look until there is something to see; give it. Fails at the deadline and tells the `last` sight."""
    deadline = time.monotonic() + timeout_s
    while (seen := look()) is None:
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}; last: {last()}"
        time.sleep(_POLL_S)
    return seen


def condition(body: Manifest, kind: str) -> dict[str, Any] | None:
    """Read a condition of a Certificate; None while there is none for its newest generation."""
    conditions = body.get("status", {}).get("conditions", [])
    found = next((entry for entry in conditions if entry["type"] == kind), None)
    current = found is not None and found["observedGeneration"] == body["metadata"]["generation"]
    return found if current else None


def data_of(secret: Manifest) -> dict[str, bytes]:
    """Decode the data of a Secret."""
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def _content(secret: Manifest) -> tuple[object, ...]:
    metadata = secret["metadata"]
    return secret["type"], secret.get("data"), metadata.get("labels"), metadata.get("annotations")
