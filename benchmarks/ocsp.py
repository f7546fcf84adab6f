"""What `clm responder` answers on one core: from its cache, signed anew for a nonce, and looked up first.

    python -m benchmarks.ocsp [--seconds 5] [--connections 64]

The responder is bound to one core; the client and PostgreSQL have the others. Beside the rate, which is the machine's
and that of whatever else runs on it, stands what an answer costs in time of the responder's core.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from benchmarks.http_load import HOST, write_requests
from clm.dev.databases import DevDatabase
from clm.dev.files import import_path
from clm.dev.ports import choose_ports
from clm.dev.state import StateFolder
from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results"
CERTIFICATES = 50_000
CACHED = 5_000
START_TIMEOUT_S = 60.0

TARGETS = {"cached, GET": 8_000, "cached, POST": 8_000, "signed for a nonce": 2_000}
"""Answers per second that are asked for."""

_FILL = """
INSERT INTO certificate_metadata
    (id, organization_id, cluster_id, resource_uid, namespace, name, revision, policy_name, issuer_key_id,
     serial_number, fingerprint_sha256, key_algorithm, not_before, not_after)
SELECT gen_random_uuid(), %(organization)s, gen_random_uuid(), gen_random_uuid(), 'shop', 'web', 1, 'internal',
       %(issuer)s, int8send(n), sha256(int8send(n)), 'ECDSA-256', now(), now() + interval '90 days'
FROM generate_series(%(first)s, %(last)s) AS n
"""
_ISSUER = """
INSERT INTO clm_status.issuers
    (issuer_key_id, organization_id, name, subject, spki, certificate, base_urls, crl_enabled, crl_lifetime, crl_shards,
     ocsp_enabled)
VALUES (%(issuer)s, %(organization)s, 'bench/ca', %(subject)s, %(spki)s, %(certificate)s, '{http://pki}', false,
        '1 day', 1, true)
"""
# The first eight octets of a serial number, as a number that is large enough for all of them.
_FIRST = 1 << 62


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA in memory."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    key_id: uuid.UUID

    @classmethod
    def make(cls) -> Ca:
        """Make one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench CA")])
        certificate = _builder(name, key.public_key()).subject_name(name).sign(key, hashes.SHA256())
        return cls(key, certificate, uuid.uuid4())

    def publish(self, connection: psycopg.Connection) -> None:
        """Have the responder know it, and its certificates."""
        values = {
            "issuer": self.key_id,
            "organization": SYSTEM_ORGANIZATION,
            "subject": self.certificate.subject.public_bytes(),
            "spki": self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "certificate": self.certificate.public_bytes(Encoding.DER),
        }
        connection.execute(_ISSUER, values)
        connection.execute(_FILL, {**values, "first": _FIRST, "last": _FIRST + CERTIFICATES - 1})
        connection.execute("ANALYZE certificate_metadata")

    def certify(self, connection: psycopg.Connection) -> None:
        """Certify the keys that ask for it."""
        for id, csr in connection.execute("SELECT id, csr FROM clm_status.ocsp_responders WHERE certificate IS NULL"):  # noqa: A001
            asked = x509.load_der_x509_csr(csr)
            certificate = (
                _builder(self.certificate.subject, asked.public_key())
                .subject_name(asked.subject)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
                .add_extension(x509.OCSPNoCheck(), critical=False)
                .sign(self.key, hashes.SHA256())
            )
            connection.execute(
                "UPDATE clm_status.ocsp_responders SET certificate = %s, not_after = %s WHERE id = %s",
                [certificate.public_bytes(Encoding.DER), certificate.not_valid_after_utc, id],
            )

    def requests(self, first: int, number: int, *, nonces: bool = False) -> list[bytes]:
        """Requests about so many certificates, as DER."""
        name, key = (
            hashes_of(self.certificate.subject.public_bytes()),
            x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest,
        )
        made = []
        for serial in range(_FIRST + first, _FIRST + first + number):
            builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, hashes.SHA1())
            if nonces:
                builder = builder.add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
            made.append(builder.build().public_bytes(Encoding.DER))
        return made


def hashes_of(name: bytes) -> bytes:
    """SHA-1 of a name, by which a CertID names it."""
    digest = hashes.Hash(hashes.SHA1())
    digest.update(name)
    return digest.finalize()


def _builder(issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )


def as_get(der: bytes) -> bytes:
    """A GET (RFC 5019 5)."""
    text = base64.b64encode(der).replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")
    return b"GET /ocsp/" + text + b" HTTP/1.1\r\nHost: pki.example.com\r\n\r\n"


def as_post(der: bytes) -> bytes:
    """A POST."""
    head = b"POST /ocsp HTTP/1.1\r\nHost: pki.example.com\r\nContent-Type: application/ocsp-request\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(der) + der


@contextmanager
def responder(folder: Path, dsn: str, ca: Ca, connection: psycopg.Connection) -> Iterator[tuple[psutil.Process, int]]:
    """Run `clm responder` on the first core; give its process and port when it is ready."""
    ports = choose_ports(folder / "ports.json", ["http", "health"])
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": import_path(),
        "CLM_CORE_DSN": dsn,
        "CLM_RESPONDER_PORT": str(ports["http"]),
        "CLM_HEALTH_PORT": str(ports["health"]),
    }
    command = [sys.executable, "-P", "-m", "clm.cli.main", "responder"]
    process = subprocess.Popen(command, env=environment)
    try:
        running = psutil.Process(process.pid)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:] or cores)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_ready(ports["health"]):
            if time.monotonic() > deadline:
                raise TimeoutError("the responder does not become ready")
            ca.certify(connection)
            time.sleep(0.2)
        yield running, ports["http"]
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(port: int) -> bool:
    command = ["curl", "--silent", "--fail", f"http://{HOST}:{port}/readyz"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def measure(
    process: psutil.Process, port: int, requests: list[bytes], *, seconds: float, connections: int
) -> dict[str, Any]:
    """Ask for a while; give what the client saw, and what it cost the responder."""
    with tempfile.NamedTemporaryFile() as file:
        write_requests(Path(file.name), requests)
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        command = [sys.executable, "-m", "benchmarks.http_load", str(port), str(seconds), str(connections), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        cpu, elapsed = sum(process.cpu_times()[:2]) - before, time.monotonic() - began
    figures: dict[str, Any] = json.loads(done.stdout)
    busy = min(elapsed, seconds + 0.5)
    return {
        **figures,
        # Of what was asked in all, the warming up included.
        "coreUs": cpu / (figures["perSecond"] * busy) * 1e6,
        "rssMB": process.memory_info().rss / 1e6,
    }


def bench(folder: Path, seconds: float, connections: int) -> dict[str, Any]:
    """Run everything."""
    state = StateFolder(folder)
    state.prepare()
    database = DevDatabase(state, "core")
    try:
        operator = database.start()
        ca = Ca.make()
        with psycopg.connect(database.cluster().superuser_dsn(database.database), autocommit=True) as administrator:
            ca.publish(administrator)
        with (
            psycopg.connect(operator, autocommit=True) as connection,
            responder(folder, database.responders_dsn(), ca, connection) as (process, port),
        ):
            cached = ca.requests(0, CACHED)
            kinds = {
                "looked up first": [as_post(der) for der in ca.requests(CACHED, CERTIFICATES - CACHED)],
                "cached, GET": [as_get(der) for der in cached],
                "cached, POST": [as_post(der) for der in cached],
                "signed for a nonce": [as_post(der) for der in ca.requests(0, CACHED, nonces=True)],
            }
            measure(process, port, kinds["cached, GET"], seconds=1, connections=connections)
            return {
                kind: measure(process, port, requests, seconds=seconds, connections=connections)
                for kind, requests in kinds.items()
            }
    finally:
        database.stop()
        state.delete()


def told(results: dict[str, Any]) -> None:
    """Print the figures, and of each that was asked for whether it is met."""
    for kind, row in results.items():
        words = (
            f"{kind}: {row['perSecond']:,.0f} per second, p50 {row['p50Ms']:.1f} ms, p99 {row['p99Ms']:.1f} ms, "
            f"{row['coreUs']:.0f} us of the core each ({1e6 / row['coreUs']:,.0f} per second of it), "
            f"{row['rssMB']:.0f} MB"
        )
        target = TARGETS.get(kind)
        if target is not None:
            verdict = "met" if row["perSecond"] >= target and not row["wrong"] else "MISSED"
            words = f"{verdict}: {words}; at least {target:,} are asked"
        print(words)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each kind is measured")
    parser.add_argument("--connections", type=int, default=64, help="connections of the client")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="clm-bench-"))
    folder.chmod(0o711)
    results = bench(folder, arguments.seconds, arguments.connections)
    told(results)
    RESULTS.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    saved = {"kinds": results, "machine": machine, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    (RESULTS / "ocsp.json").write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
