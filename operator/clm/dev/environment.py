"""Brings the environment up, tells how it is, and takes it down again.

Everything survives down and up: token, databases, objects. What does not depend on each other starts at once.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from clm.dev import cluster
from clm.dev.binaries import find_binaries
from clm.dev.controller import ControllerProcess
from clm.dev.controlplane import ControlPlane, stop_control_plane
from clm.dev.databases import DATABASES, DevDatabase
from clm.dev.given import dsn_variable, given_databases, given_responder_dsn, without_secrets
from clm.dev.processes import ProcessTable
from clm.dev.responder import ResponderProcess
from clm.dev.token import DevToken, find_module, prepare_token
from clm.settings import Settings

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from pathlib import Path

    from clm.dev.state import StateFolder

    Progress = Callable[[str, float], None]

_NAMESPACE = str(next(field.default for field in fields(Settings) if field.name == "namespace"))


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment, in one state folder.

    `progress` is told what has become ready and after how many seconds, from several threads.
    """

    state: StateFolder
    progress: Progress

    @property
    def processes(self) -> ProcessTable:
        """The processes on record."""
        return ProcessTable(self.state.run, self.state.logs)

    def up(self, *, kubeconfig: Path | None = None) -> None:
        """Start what does not run. With `kubeconfig` the operator serves that cluster, and no control plane starts.

        Blocking. Raises ClmError; then everything is down again.
        """
        with self.state.locked():
            self.state.prepare()
            try:
                self._up(kubeconfig)
            except BaseException:
                self._down()
                raise

    def down(self, *, delete: bool = False) -> None:
        """Stop everything; with `delete` remove token, databases and objects too. Blocking. Raises StartFailed."""
        if not self.state.root.exists():
            return
        with self.state.locked():
            self._down()
            if delete:
                self.state.delete()

    def status(self) -> dict[str, Any]:
        """Tell where everything is and what runs. Holds no secret: PINs and passwords are in the files it names."""
        controller = ControllerProcess(self.state, self.processes)
        responder = ResponderProcess(self.state, self.processes)
        recorded, responders = controller.recorded_settings() or {}, responder.recorded_settings()
        problems = [controller.problem(), responder.problem() if responders is not None else None]
        running = {name: process.pid for name in self.processes.names() if (process := self.processes.find(name))}
        dsns = {name: recorded.get(dsn_variable(name)) for name in DATABASES}
        shown = {name: without_secrets(dsn) if dsn is not None else None for name, dsn in dsns.items()}
        return {
            "state": str(self.state.root),
            "ready": bool(recorded) and problems == [None, None],
            "controller": problems[0] or "ready",
            "responder": problems[1] or "ready" if responders is not None else None,
            "public_url": recorded.get("CLM_PUBLIC_URL"),
            "kubeconfig": self._user_kubeconfig(recorded),
            "secure_dsn": shown["secure"],
            "core_dsn": shown["core"],
            "token": {
                "module": recorded.get("CLM_PKCS11_MODULE"),
                "configuration": recorded.get("SOFTHSM2_CONF"),
                "label": recorded.get("CLM_TOKEN_LABEL"),
                "serial": recorded.get("CLM_TOKEN_SERIAL"),
                "pin_file": recorded.get("CLM_TOKEN_PIN_FILE"),
            },
            "environment_file": str(self.state.environment_file),
            "logs": str(self.state.logs),
            "processes": running,
            "databases": {database.name: database.is_running() for database in self._own_databases(recorded)},
        }

    def problem(self) -> str | None:
        """Name a part that has ended; None while all run."""
        missing = [name for name in self.processes.names() if self.processes.find(name) is None]
        recorded = ControllerProcess(self.state, self.processes).recorded_settings() or {}
        missing += [f"postgres-{own.name}" for own in self._own_databases(recorded) if not own.is_running()]
        return f"{', '.join(missing)} ended; logs: {self.state.logs}" if missing else None

    def _up(self, kubeconfig: Path | None) -> None:
        given = given_databases(os.environ, self.state)
        own = {name: DevDatabase(self.state, name) for name in DATABASES}
        responders_dsn = given_responder_dsn(os.environ) if given else None
        controller = ControllerProcess(self.state, self.processes)
        responder = ResponderProcess(self.state, self.processes)
        # Before their databases become newer than they are.
        controller.stop_outdated()
        responder.stop_outdated()
        if given:
            for database in own.values():
                database.stop()
        parts: dict[str, Callable[[], Any]] = {f"database {name}": (given or own)[name].start for name in DATABASES}
        parts["token"] = self._prepare_token
        parts["cluster"] = lambda: self._prepare_cluster(kubeconfig)
        results = _all_at_once({name: self._timed(name, part) for name, part in parts.items()})
        token: DevToken = results["token"]
        operators_kubeconfig, cluster_id = results["cluster"]
        responders_dsn = responders_dsn if given else own["core"].responders_dsn()
        settings = controller.settings(
            dsns={name: results[f"database {name}"] for name in DATABASES},
            token=token,
            kubeconfig=operators_kubeconfig,
            cluster=cluster_id,
            public_url=None if responders_dsn is None else responder.public_url(os.environ),
        )
        # The responder is not ready before the controller has certified its keys: they start together.
        services: dict[str, Callable[[], Any]] = {"controller": lambda: controller.start(settings)}
        if responders_dsn is None:
            responder.forget()
        else:
            responders = responder.settings(dsn=responders_dsn)
            services["responder"] = lambda: responder.start(responders)
        _all_at_once({name: self._timed(name, start) for name, start in services.items()})

    def _prepare_token(self) -> DevToken:
        return prepare_token(self.state.token, find_module(os.environ))

    def _prepare_cluster(self, kubeconfig: Path | None) -> tuple[Path, uuid.UUID]:
        """Have a cluster with everything that the operator needs; give the operator's kubeconfig and its id."""
        base = [*cluster.definitions(), cluster.namespace(_NAMESPACE)]
        if kubeconfig is not None:
            cluster.apply(kubeconfig, base)
            return kubeconfig.absolute(), self.state.cluster_id(cluster.identify(kubeconfig), embedded=False)
        control_plane = ControlPlane(self.state.control_plane, find_binaries(os.environ), self.processes)
        control_plane.start()
        cluster.apply(control_plane.kubeconfig, [*base, *cluster.rights()])
        identity = cluster.identify(control_plane.kubeconfig)
        return control_plane.controller_kubeconfig, self.state.cluster_id(identity, embedded=True)

    def _own_databases(self, recorded: dict[str, str]) -> list[DevDatabase]:
        """The databases that run here; not those whose DSNs were given."""
        dsns = {name: recorded.get(dsn_variable(name)) for name in DATABASES}
        own = {name: DevDatabase(self.state, name) for name in DATABASES}
        return [own[name] for name, dsn in dsns.items() if dsn is None or own[name].is_own(dsn)]

    def _user_kubeconfig(self, recorded: dict[str, str]) -> str | None:
        """The kubeconfig for people: our own control plane's has one that may do more than the operator's."""
        operators = recorded.get("KUBECONFIG")
        own = self.state.control_plane
        return str(own / "admin.kubeconfig") if operators == str(own / "controller.kubeconfig") else operators

    def _down(self) -> None:
        for service in (ControllerProcess(self.state, self.processes), ResponderProcess(self.state, self.processes)):
            service.stop()
        stops: dict[str, Callable[[], Any]] = {name: DevDatabase(self.state, name).stop for name in DATABASES}
        stops["control plane"] = lambda: stop_control_plane(self.processes)
        _all_at_once(stops)

    def _timed(self, name: str, part: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:  # noqa: ANN401 - whatever the part gives
            began = time.monotonic()
            result = part()
            self.progress(name, time.monotonic() - began)
            return result

        return run


def _all_at_once(parts: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Run all parts, each in a thread, to their ends; raise the first one's error if there is any."""
    pool = ThreadPoolExecutor(len(parts))
    try:
        futures = {name: pool.submit(part) for name, part in parts.items()}
        wait(futures.values())
    finally:
        # Also when interrupted: a part that is still starting something could not be stopped.
        pool.shutdown()
    return {name: future.result() for name, future in futures.items()}
