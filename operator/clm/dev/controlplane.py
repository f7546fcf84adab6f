"""A Kubernetes control plane without nodes: etcd, API server and controller manager on the loopback address.

Real TLS, real RBAC, and an etcd that syncs to disk. The controller manager runs what makes an API server behave like
a cluster (garbage collection, namespace deletion, service accounts) and nothing about pods.
"""

from __future__ import annotations

import os
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clm.dev.bearer import make_tokens
from clm.dev.identities import API_CLIENTS, Identities, make_identities
from clm.dev.kubeconfig import write_kubeconfig
from clm.dev.ports import LOOPBACK, choose_ports, remembered_ports
from clm.errors import StartFailed

if TYPE_CHECKING:
    from pathlib import Path

    from clm.dev.binaries import ControlPlaneBinaries
    from clm.dev.processes import ProcessTable

READY_TIMEOUT_S = 90.0

# In the order of starting; they are stopped the other way round.
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")

_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 5.0
_PORTS = ("etcd", "etcd-peer", "api", "controller-manager")
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One control plane below `folder`. What it stores survives stop and start."""

    folder: Path
    binaries: ControlPlaneBinaries
    processes: ProcessTable = field(repr=False)

    @property
    def kubeconfig(self) -> Path:
        """For people: may do everything (group system:masters)."""
        return self.folder / "admin.kubeconfig"

    @property
    def controller_kubeconfig(self) -> Path:
        """For the operator: has only the rights that RBAC gives the group clm:controllers."""
        return self.folder / "controller.kubeconfig"

    @property
    def server(self) -> str | None:
        """URL of the API server; None before the first start."""
        port = remembered_ports(self._ports_file).get("api")
        return None if port is None else f"https://{LOOPBACK}:{port}"

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    @property
    def _tokens_file(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def _manager_kubeconfig(self) -> Path:
        return self.folder / "controller-manager.kubeconfig"

    def start(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start what does not run, and wait until the API server and the controller manager are ready.

        Blocking. Raises StartFailed when a program ends or is not ready in time; what runs then keeps running.
        """
        deadline = time.monotonic() + timeout_s
        identities, ports = Identities(self.folder / "identities"), remembered_ports(self._ports_file)
        if not any(self.processes.find(name) for name in PROGRAMS):
            # Only now: running programs go on with the ports and certificates that they have.
            identities = make_identities(identities.folder, now=datetime.now(UTC))
            ports = choose_ports(self._ports_file, _PORTS)
        self._write_kubeconfigs(identities, ports)
        self._launch("etcd", self._etcd(identities, ports))
        self._await("etcd", ports["etcd"], "/readyz", identities.etcd_ca, identities, "etcd-client", deadline)
        self._launch("kube-apiserver", self._api_server(identities, ports))
        self._await("kube-apiserver", ports["api"], "/readyz", identities.api_ca, identities, "admin", deadline)
        self._launch("kube-controller-manager", self._controller_manager(identities, ports))
        self._await(
            "kube-controller-manager",
            ports["controller-manager"],
            "/healthz",
            identities.api_ca,
            identities,
            "admin",
            deadline,
        )

    def stop(self) -> None:
        """Stop everything that runs, clients before servers. Blocking; raises StartFailed when one does not end."""
        stop_control_plane(self.processes)

    def is_running(self) -> bool:
        """Whether all three programs run."""
        return all(self.processes.find(name) is not None for name in PROGRAMS)

    def _write_kubeconfigs(self, identities: Identities, ports: dict[str, int]) -> None:
        server = f"https://{LOOPBACK}:{ports['api']}"
        tokens = make_tokens(self._tokens_file, {name: API_CLIENTS[name] for name in ("admin", "controller")})
        for path, client in (
            (self.kubeconfig, tokens["admin"]),
            (self.controller_kubeconfig, tokens["controller"]),
            (self._manager_kubeconfig, identities.of("controller-manager")),
        ):
            write_kubeconfig(path, server=server, ca=identities.api_ca, client=client)

    def _launch(self, name: str, command: list[str]) -> None:
        # Nothing of the caller's environment concerns these programs, least of all its proxies. On a small machine
        # their garbage collection is a quarter of their work; some more memory halves it.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "GOGC": "200"}
        self.processes.start(name, command, environment=environment)

    def _etcd(self, identities: Identities, ports: dict[str, int]) -> list[str]:
        files = identities.of("etcd")
        client, peer = f"https://{LOOPBACK}:{ports['etcd']}", f"https://{LOOPBACK}:{ports['etcd-peer']}"
        tls = {"cert-file": files.certificate, "key-file": files.key, "trusted-ca-file": identities.etcd_ca}
        flags: dict[str, object] = {
            "name": "clm-dev",
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"clm-dev={peer}",
            "client-cert-auth": "true",
            "peer-client-cert-auth": "true",
            **tls,
            **{f"peer-{flag}": value for flag, value in tls.items()},
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1h",
            "quota-backend-bytes": 4 * 1024**3,
            "log-level": "warn",
        }
        return _command(self.binaries.etcd, flags)

    def _api_server(self, identities: Identities, ports: dict[str, int]) -> list[str]:
        serving, etcd_client = identities.of("api-server"), identities.of("etcd-client")
        flags: dict[str, object] = {
            "bind-address": LOOPBACK,
            "secure-port": ports["api"],
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "client-ca-file": identities.api_ca,
            "token-auth-file": self._tokens_file,
            "etcd-servers": f"https://{LOOPBACK}:{ports['etcd']}",
            "etcd-cafile": identities.etcd_ca,
            "etcd-certfile": etcd_client.certificate,
            "etcd-keyfile": etcd_client.key,
            "authorization-mode": "RBAC",
            "anonymous-auth": "false",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": identities.service_account_public_key,
            "service-account-signing-key-file": identities.service_account_key,
            "service-cluster-ip-range": "10.0.0.0/24",
            # A loopback address is no endpoint of the service `kubernetes`, and there is nobody to use it.
            "endpoint-reconciler-type": "none",
            "profiling": "false",
        }
        return _command(self.binaries.kube_apiserver, flags)

    def _controller_manager(self, identities: Identities, ports: dict[str, int]) -> list[str]:
        serving = identities.of("api-server")
        flags: dict[str, object] = {
            "bind-address": LOOPBACK,
            "secure-port": ports["controller-manager"],
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "kubeconfig": self._manager_kubeconfig,
            "service-account-private-key-file": identities.service_account_key,
            "root-ca-file": identities.api_ca,
            "use-service-account-credentials": "true",
            "controllers": ",".join(_CONTROLLERS),
            "leader-elect": "false",
            "profiling": "false",
        }
        return _command(self.binaries.kube_controller_manager, flags)

    def _await(
        self, name: str, port: int, path: str, ca: Path, identities: Identities, client: str, deadline: float
    ) -> None:
        files = identities.of(client)
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(files.certificate, files.key)
        last = "no answer yet"
        while time.monotonic() < deadline:
            if self.processes.find(name) is None:
                log = self.processes.log(name)
                raise StartFailed(f"{name} has ended; log: {log}\n{self.processes.tail(name)}")
            problem = _probe(f"https://{LOOPBACK}:{port}{path}", context)
            if problem is None:
                return
            last = problem
            time.sleep(_POLL_S)
        raise StartFailed(f"{name} is not ready ({last}); log: {self.processes.log(name)}")


def stop_control_plane(processes: ProcessTable) -> None:
    """Stop the programs, for which nobody has to know where they are installed. Raises StartFailed."""
    for name in reversed(PROGRAMS):
        processes.stop(name)


def _command(program: Path, flags: dict[str, object]) -> list[str]:
    return [str(program), *(f"--{flag}={value}" for flag, value in flags.items())]


def _probe(url: str, context: ssl.SSLContext) -> str | None:
    """Ask for readiness; None means ready. No proxy of the user's environment is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=_REQUEST_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code}"
    except (OSError, urllib.error.URLError) as error:
        return str(error)
