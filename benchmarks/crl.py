"""How long a revocation waits for its CRL where 100,000 certificates are revoked, and what that costs the controller.

The controller's own rounds run over two real databases and a token. A revocation is committed, and the CRL that lists
it is waited for in clm_core_db. Beside it, in the same run: what the library takes to build and sign such a list at
once, and the longest time for which the event loop answered nobody.

    python -m benchmarks.crl --revoked 100000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from clm.dev.databases import DevDatabase
from clm.dev.state import StateFolder
from clm.dev.token import find_module, prepare_token
from clm.hsm.signing import sign
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.hsm_keys import HsmKeys
from clm.pki import tbs
from clm.pki.algorithms import signature_hash
from clm.pki.assemble import assemble
from clm.pki.profile import Issuer
from clm.pki.serial import new_serial
from clm.resources.certificate import parse_certificate
from clm.resources.keys import KeySpec
from clm.resources.records import HsmKeyRow, Owner
from clm.settings import Settings
from clm.storage.core.crls import CrlStore, IssuerRow
from clm.storage.secure.keys import KeyStore
from clm.wiring.controller import build_controller
from clm.wiring.outside import Dependencies, open_database, open_token

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient

RESULTS = Path(__file__).parent / "results"
AUDIT = {"origin": "bench", "version": "0"}
P256 = KeySpec("ECDSA", 256)
ROOT = {"policyRef": {"name": "p"}, "secretName": "s", "commonName": "Root", "isCA": True, "duration": "87600h"}

MOST_S = 2.0
"""So long a revocation may wait for its CRL."""

# As the controller leaves them, with random serial numbers and contents.
FILL = """
WITH made AS (
    SELECT gen_random_uuid() AS id, gen_random_uuid() AS uid,
           decode('40' || substr(md5(random()::text), 1, 30), 'hex') AS serial,
           decode(md5(random()::text) || md5(random()::text), 'hex') AS content
    FROM generate_series(1, %(number)s)
), request AS (
    INSERT INTO certificate_requests
        (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash, policy_name,
         issuer_key_id, serial_number, tbs, signature_algorithm, not_before, not_after, reason, state, issued_at)
    SELECT id, %(organization)s, %(cluster)s, uid, 'bench', 'web', 1, 1, content, 'p', %(key)s, serial, content,
           'ECDSAWithSHA256', now(), now() + interval '90 days', 'initial', 'issued', now()
    FROM made RETURNING id
), issued AS (
    INSERT INTO certificates
        (id, request_id, organization_id, cluster_id, resource_uid, namespace, name, revision, spec_hash, issuer_key_id,
         serial_number, certificate, fingerprint_sha256, spki_sha256, subject, issuer, subject_key_identifier,
         not_before, not_after, state)
    SELECT id, id, %(organization)s, %(cluster)s, uid, 'bench', 'web', 1, content, %(key)s, serial, content,
           sha256(content), content, '', '', content, now(), now() + interval '90 days', 'revoked'
    FROM made RETURNING id
)
INSERT INTO certificate_revocations
    (organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at)
SELECT %(organization)s, id, %(key)s, serial, 1, now() FROM made
"""
COUNT = "SELECT entry_count FROM clm_status.crls WHERE issuer_key_id = %s AND shards = 1"
WAITING = "SELECT id FROM certificate_revocations WHERE published_at IS NULL LIMIT 1"
TOGETHER = 10_000


class Bench:
    """One CA that publishes, and the databases as the superuser sees them."""

    def __init__(self, settings: Settings, *, secure: str, core: str) -> None:
        self.settings = settings
        self.secure = secure
        self.core = core
        self.key_id = uuid.uuid4()
        self.gap_s = 0.0

    async def revoke(self, number: int) -> None:
        """Commit so many revocations of certificates that were issued."""
        organization = self.settings.organization_id
        values = {"organization": organization, "cluster": self.settings.cluster_id, "key": self.key_id}
        async with await psycopg.AsyncConnection.connect(self.secure, autocommit=True) as connection:
            for at in range(0, number, TOGETHER):
                some = {**values, "number": min(TOGETHER, number - at)}
                await connection.execute(FILL.encode(), some)

    async def listed(self, number: int) -> float:
        """Wait until so many are on the CRL; give the seconds."""
        began = time.monotonic()
        async with await psycopg.AsyncConnection.connect(self.core, autocommit=True) as connection:
            while True:
                row = await (await connection.execute(COUNT.encode(), [self.key_id])).fetchone()
                if row is not None and row[0] >= number:
                    return time.monotonic() - began
                await asyncio.sleep(0.02)

    async def marked(self) -> None:
        """Wait until none waits any more."""
        async with await psycopg.AsyncConnection.connect(self.secure, autocommit=True) as connection:
            while True:
                if await (await connection.execute(WAITING.encode())).fetchone() is None:
                    return
                await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Note the longest time in which the event loop did nothing else."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.002)
            self.gap_s = max(self.gap_s, time.monotonic() - before - 0.002)


async def announce(bench: Bench, dependencies: Dependencies) -> None:
    """Make a CA: its key, its certificate, and that it publishes."""
    owner = Owner(bench.settings.cluster_id, uuid.uuid4(), "clm-system", "bench")
    row = HsmKeyRow(
        id=bench.key_id,
        organization_id=bench.settings.organization_id,
        purpose="ca-signing",
        algorithm=str(P256),
        version=1,
        label="bench",
        state="generating",
        owner=owner,
    )
    keys = KeyStore(dependencies.secure, **AUDIT)
    made = await HsmKeys(token=dependencies.token, store=keys, boundary=no_boundary).ensure(row)
    assert made.spki is not None
    issuer = Issuer.self_signed(key_id=made.id, spec=P256, spki=made.spki)
    spec = parse_certificate(ROOT)
    not_before, not_after = tbs.validity(spec, issuer, datetime.now(UTC))
    draft = tbs.build_tbs(
        spec,
        issuer=issuer,
        public_key=issuer.public_key,
        serial=new_serial(os.urandom),
        not_before=not_before,
        not_after=not_after,
        throwaway=tbs.ThrowawayKeys(),
    )
    signature = await sign(dependencies.token, made.id, spec=P256, hash_name=signature_hash(P256), data=draft.tbs)
    certificate = assemble(draft.tbs, signature, spec=P256)
    known = IssuerRow(
        issuer_key_id=made.id,
        organization_id=bench.settings.organization_id,
        name="clm-system/bench",
        subject=draft.certificate.subject.public_bytes(),
        spki=made.spki,
        certificate=certificate,
        chain=[],
        base_urls=[str(bench.settings.public_url)],
        crl_enabled=True,
        crl_lifetime=timedelta(days=1),
        crl_shards=1,
        ocsp_enabled=False,
    )
    await CrlStore(dependencies.core, **AUDIT).put_issuer(known)


@contextlib.asynccontextmanager
async def publishing(bench: Bench, dependencies: Dependencies) -> Any:
    """Run the rounds of a controller that has just started."""
    controller = build_controller(bench.settings, dependencies)
    task = asyncio.create_task(controller.publishing.run(interval_s=bench.settings.publish_interval_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def measure(bench: Bench, *, revoked: int, turns: int) -> dict[str, Any]:
    """Fill up, publish, and measure the next revocations: of a controller that runs, and of one that starts."""
    dependencies = Dependencies(
        token=open_token(bench.settings),
        secure=open_database(bench.settings, "secure"),
        core=open_database(bench.settings, "core"),
        client=cast("ApiClient", None),
        watch_client=cast("ApiClient", None),
        keygen=ThreadPoolExecutor(1),
    )
    await dependencies.secure.start()
    await dependencies.core.start()
    await dependencies.token.start()
    await announce(bench, dependencies)
    await bench.revoke(revoked)
    results: dict[str, Any] = {"revoked": revoked, "waits": []}
    async with publishing(bench, dependencies):
        results["firstSeconds"] = await bench.listed(revoked)
        await bench.marked()
        watching = asyncio.create_task(bench.watch())
        for turn in range(1, turns + 1):
            await bench.revoke(1)
            results["waits"].append(await bench.listed(revoked + turn))
        watching.cancel()
    results["loopGapSeconds"] = bench.gap_s
    await bench.revoke(1)
    async with publishing(bench, dependencies):
        results["restartSeconds"] = await bench.listed(revoked + turns + 1)
    results["peakMegabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    await asyncio.gather(dependencies.secure.close(), dependencies.core.close(), dependencies.token.close())
    return results


def at_once(number: int) -> float:
    """Seconds that the library takes for a list of that size, all entries given to it together."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
    began = time.monotonic()
    entries = [
        x509.RevokedCertificateBuilder(
            new_serial(os.urandom), now, [x509.Extension(reason.oid, critical=False, value=reason)]
        ).build()
        for _ in range(number)
    ]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=1), [], entries).sign(key, hashes.SHA256())
    return time.monotonic() - began


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revoked", type=int, default=100_000, help="revoked certificates of the CA")
    parser.add_argument("--turns", type=int, default=10, help="revocations that are measured")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="clm-bench-"))
    folder.chmod(0o711)
    state = StateFolder(folder)
    state.prepare()
    databases = {name: DevDatabase(state, name) for name in ("secure", "core")}
    try:
        dsns = {name: database.start() for name, database in databases.items()}
        for database in databases.values():
            with psycopg.connect(database.cluster().superuser_dsn(database.database), autocommit=True) as connection:
                connection.execute("SELECT clm_guard.ensure_audit_partitions(1)")
        token = prepare_token(state.token, find_module(os.environ))
        os.environ["SOFTHSM2_CONF"] = str(token.configuration)
        settings = Settings(
            secure_dsn=dsns["secure"],
            core_dsn=dsns["core"],
            pkcs11_module=str(token.module),
            token_label=token.label,
            token_serial=token.serial,
            token_pin_file=token.pin_file,
            cluster_id=uuid.uuid4(),
            public_url="http://127.0.0.1:1",
        )
        seen = {name: database.cluster().superuser_dsn(database.database) for name, database in databases.items()}
        bench = Bench(settings, secure=seen["secure"], core=seen["core"])
        results = uvloop.run(measure(bench, revoked=arguments.revoked, turns=arguments.turns))
    finally:
        for database in databases.values():
            database.stop()
        state.delete()
    results["libraryAtOnceSeconds"] = at_once(arguments.revoked)
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    results["when"] = datetime.now(UTC).isoformat(timespec="seconds")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "crl.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    told(results)


def told(results: dict[str, Any]) -> None:
    """Say what was measured, and whether it is what it has to be."""
    longest, median = max(results["waits"]), statistics.median(results["waits"])
    verdict = "met" if longest <= MOST_S else "MISSED"
    print(
        f"{verdict}: with {results['revoked']:,} revoked certificates the next revocation is on the CRL after"
        f" {median:.2f} s (median) and {longest:.2f} s at most, of {len(results['waits'])} (at most {MOST_S:.0f} s)"
    )
    print(
        f"the first CRL of them all took {results['firstSeconds']:.1f} s, the next one of a controller that has just"
        f" started {results['restartSeconds']:.1f} s; the library alone takes {results['libraryAtOnceSeconds']:.1f} s"
    )
    print(f"the event loop waited {results['loopGapSeconds']:.3f} s at most; {results['peakMegabytes']} MB at the peak")


if __name__ == "__main__":
    main()
