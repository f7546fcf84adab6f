"""What a benchmark runs on: the embedded environment in a folder of its own, and how its processes are measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psutil
import yaml

from clm.dev.controller import NAME as CONTROLLER
from clm.dev.controller import ControllerProcess
from clm.dev.kubectl import Kubectl, find_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.dev.environment import Environment

REPOSITORY = Path(__file__).resolve().parents[1]
NAMESPACE = "bench"
POLICY = "bench"
WRITES = ("POST", "PUT", "PATCH", "DELETE")

_API = "clm-operator.io/v1alpha1"
_AUTHORITY_USAGES = ["digital signature", "cert sign", "crl sign"]
_MANIFESTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{NAMESPACE}-ceiling"}},
    {
        "apiVersion": _API,
        "kind": "Policy",
        "metadata": {"name": "bench-root"},
        "spec": {
            "issuer": {"selfSigned": {}},
            "allowed": {"commonName": {"values": ["*"]}, "isCA": True, "usages": _AUTHORITY_USAGES},
        },
    },
    {
        "apiVersion": _API,
        "kind": "Policy",
        "metadata": {"name": POLICY},
        "spec": {
            "issuer": {"ca": {"namespace": NAMESPACE, "name": "root"}},
            "allowed": {
                "commonName": {"values": ["*.bench.svc"]},
                "dnsNames": {"values": ["*.bench.svc", "*.bench.svc.cluster.local"]},
                "usages": ["digital signature", "key encipherment", "server auth"],
            },
        },
    },
    {
        "apiVersion": _API,
        "kind": "Certificate",
        "metadata": {"name": "root", "namespace": NAMESPACE},
        "spec": {
            "policyRef": {"name": "bench-root"},
            "secretName": "root",
            "commonName": "Bench Root",
            "isCA": True,
            "duration": "87600h",
            "usages": _AUTHORITY_USAGES,
            "privateKey": {"algorithm": "ECDSA", "size": 256},
        },
    },
]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU seconds so far, resident bytes now, and at their most since its start (VmHWM)."""

    cpu_s: float
    rss_bytes: int
    peak_bytes: int


@dataclass(slots=True)
class BenchWorld:
    """The environment, its operator and its API server."""

    environment: Environment

    @property
    def kubeconfig(self) -> Path:
        """For the load's client."""
        return self.environment.state.control_plane / "admin.kubeconfig"

    def prepare(self) -> None:
        """Make the namespace, the Policies and the issuing CA."""
        file = self.environment.state.root / "bench.yaml"
        file.write_text(yaml.safe_dump_all(_MANIFESTS), encoding="utf-8")
        self._kubectl().run("apply", "-f", str(file))
        self._kubectl().run("wait", "-n", NAMESPACE, "--for=condition=Ready", "clmcert/root", "--timeout=60s")

    def load(self, *arguments: str) -> dict[str, Any]:
        """Run the load's client in a process of its own. Returns its figures."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", str(self.kubeconfig), *arguments],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.PIPE,
            timeout=900,
        )
        figures: dict[str, Any] = orjson.loads(done.stdout)
        return figures

    def stop_controller(self) -> None:
        """Stop the operator."""
        self.environment.processes.stop(CONTROLLER)

    def count(self) -> int:
        """Count the Certificates that there are."""
        return len(self._kubectl().run("get", "clmcert", "-A", "-o", "name").splitlines())

    def start_controller(self, *, certificates: int) -> float:
        """Start the operator; wait until it knows all and has nothing to do. Returns the seconds from the start."""
        process = ControllerProcess(self.environment.state, self.environment.processes)
        settings = process.recorded_settings()
        assert settings is not None
        began = time.monotonic()
        process.start(settings)
        self.await_settled(certificates=certificates)
        return time.monotonic() - began

    def await_settled(self, *, certificates: int = 0, timeout_s: float = 300.0) -> None:
        """Wait until the operator knows that many Certificates, all are settled and the queue is empty."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            metrics = dict(self._controller_metrics())
            known = metrics["clm_certificates"] >= certificates
            busy = ("clm_certificates_unsettled", "clm_queue_depth", "clm_policies_queued")
            if known and not any(metrics[name] for name in busy):
                return
            time.sleep(0.1)
        raise TimeoutError("the operator did not settle")

    def usage(self, name: str = CONTROLLER) -> Usage:
        """Measure a process of the environment."""
        record = self.environment.processes.find(name)
        assert record is not None
        process = psutil.Process(record.pid)
        times = process.cpu_times()
        status = Path(f"/proc/{record.pid}/status").read_text(encoding="ascii")
        peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        return Usage(times.user + times.system, process.memory_info().rss, peak_kib * 1024)

    def writes(self) -> dict[str, int]:
        """Count the API server's write requests by resource, Leases aside, by its own counters."""
        counts: dict[str, int] = {}
        for line in self._api_metrics().splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            labels = dict(part.split("=", 1) for part in line[line.index("{") + 1 : line.rindex("}")].split('",'))
            labels = {name: value.strip('"') for name, value in labels.items()}
            if labels["verb"] in WRITES and labels["resource"] in ("secrets", "certificates", "policies", "events"):
                what = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                counts[what] = counts.get(what, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts

    def _controller_metrics(self) -> Iterator[tuple[str, float]]:
        settings = ControllerProcess(self.environment.state, self.environment.processes).recorded_settings() or {}
        with urllib.request.urlopen(f"http://127.0.0.1:{settings['CLM_HEALTH_PORT']}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#") and "{" not in line:
                    name, value = line.rsplit(" ", 1)
                    yield name, float(value)

    def _api_metrics(self) -> str:
        return self._kubectl().run("get", "--raw", "/metrics")

    def _kubectl(self) -> Kubectl:
        return find_kubectl(os.environ, str(self.kubeconfig))
