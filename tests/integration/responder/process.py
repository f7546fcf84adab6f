"""`clm responder` as a process, and what clients other than ours make of its answers."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from clm.dev.files import import_path
from clm.dev.ports import choose_ports
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from cryptography import x509

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Responder:
    """A running responder."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    log_file: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """What it has said."""
        return self.log_file.read_text(encoding="utf-8")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request of its own connection. Underscores in names of headers stand for hyphens."""
        return ask(self.port, method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def readiness(self) -> Reply:
        """Ask whether it is ready."""
        return ask(self.health_port, "GET", "/readyz")

    def metrics(self) -> dict[str, float]:
        """Read its figures, by name and labels."""
        lines = ask(self.health_port, "GET", "/metrics").body.decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def openssl(self, issuer: x509.Certificate, *certificates: x509.Certificate, options: tuple[str, ...] = ()) -> str:
        """What `openssl ocsp` says about certificates; its verdict on the signature is in it."""
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, f"{name}.pem") for name in ("issuer", *map(str, range(len(certificates))))}
            for file, certificate in zip(files.values(), (issuer, *certificates), strict=True):
                file.write_bytes(certificate.public_bytes(Encoding.PEM))
            asked = [part for name, file in files.items() if name != "issuer" for part in ("-cert", str(file))]
            command = ["openssl", "ocsp", "-issuer", str(files["issuer"]), "-CAfile", str(files["issuer"])]
            command += ["-url", f"{self.url}/ocsp", *options, *asked]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.stderr + done.stdout

    def stop(self) -> int:
        """Ask it to end; tell how it did."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """Send one HTTP request."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def run_responder(
    folder: Path,
    dsn: str,
    *,
    settings: Mapping[str, str] | None = None,
    waits_for: Callable[[], object] = lambda: None,
    until_ready: bool = True,
) -> Generator[Responder]:
    """Run a responder until the caller is done with it; `waits_for` is called between its start and its readiness."""
    ports = choose_ports(folder / "ports.json", ["http", "health"])
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": import_path(),
        "CLM_CORE_DSN": dsn,
        "CLM_RESPONDER_PORT": str(ports["http"]),
        "CLM_HEALTH_PORT": str(ports["health"]),
        **(settings or {}),
    }
    log_file = folder / "responder.log"
    command = [sys.executable, "-P", "-m", "clm.cli.main", "responder"]
    with log_file.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    responder = Responder(process, ports["http"], ports["health"], log_file)

    def look() -> bool | None:
        assert process.poll() is None, responder.log
        try:
            return responder.readiness().status == 200 or None
        except OSError:
            return None

    try:
        waits_for()
        if until_ready:
            wait(look, "the responder to be ready", last=lambda: responder.log)
        yield responder
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_said(responder: Responder, words: str, issuer: x509.Certificate, *certificates: x509.Certificate) -> str:
    """Wait until `openssl ocsp` says these words; give all of what it says."""
    said = [""]

    def look() -> str | None:
        said[0] = responder.openssl(issuer, *certificates)
        return said[0] if words in said[0] else None

    return wait(look, f"openssl ocsp to say {words!r}", last=lambda: said[0])
