"""What sealing costs those who write audit records, and how long a million records take to verify.

Sixteen writers record as fast as they can, in turns with and without a sealer beside them in the same process, as in
the controller; a token signs. Only the ratio within one run counts: absolute numbers are the machine's.

    python -m benchmarks.seal --records 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import uvloop

from clm.audit.checkpoint import Origin
from clm.audit.seal import Sealer
from clm.audit.signer import SEALING_KEY, TokenSigner
from clm.audit.source import DatabaseSource
from clm.audit.verify import verify
from clm.dev.databases import DevDatabase
from clm.dev.state import StateFolder
from clm.dev.token import find_module, prepare_token
from clm.hsm.keys import generate_signing_key
from clm.hsm.token import Token
from clm.resources.audit import AuditRecord
from clm.resources.seals import KnownKey
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage import audit_sql
from clm.storage.database import Database
from clm.storage.ledger import open_ledger
from clm.storage.seals import SealStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RESULTS = Path(__file__).parent / "results"
WRITERS = 16
TURN_S = 4.0
SEAL_EVERY_S = 1.0
TOGETHER = 1000

LEAST_RATIO = 0.90
"""Sealing is to cost writers less than a tenth."""
MOST_S_PER_MILLION = 60.0
"""So long a million records may take to verify."""

INSERT = f"INSERT INTO secure_audit_log ({audit_sql.COLUMNS}) VALUES ({audit_sql.VALUES})".encode()
FILL = """
INSERT INTO secure_audit_log
    (organization_id, actor_type, actor_id, action, object_type, object_id, outcome, origin, software_version, details,
     details_canonical)
SELECT %(organization)s, 'operator', 'clm-controller', 'certificate.issue', 'certificate', gen_random_uuid()::text,
       'success', 'bench', '0', made.details::jsonb, convert_to(made.details, 'UTF8')
FROM generate_series(1, %(number)s) AS n,
     LATERAL (
         SELECT format('{"issuer":"root","name":"web-%%s.example.org","serial":"%%s"}', n, md5(n::text))
     ) AS made (details)
"""


def record(number: int) -> AuditRecord:
    """A record like those of an issuance."""
    return AuditRecord(
        organization_id=SYSTEM_ORGANIZATION,
        action="certificate.issue",
        object_type="certificate",
        object_id=str(uuid.uuid4()),
        details={"name": f"web-{number}.example.org", "serial": f"{number:032x}", "issuer": "root"},
    )


async def write(dsn: str, until: float) -> int:
    """Write records, each in a commit of its own, until the time is over; give their number."""
    number = 0
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < until:
            await connection.execute(INSERT, audit_sql.parameters(record(number), origin="bench", version="0"))
            number += 1
    return number


async def turn(dsn: str) -> float:
    """Let all writers write for a while; give records per second."""
    began = time.monotonic()
    numbers = await asyncio.gather(*(write(dsn, began + TURN_S) for _ in range(WRITERS)))
    return sum(numbers) / (time.monotonic() - began)


async def keep_sealing(sealer: Sealer, signer: TokenSigner) -> None:
    """Seal as the controller does, only more often."""

    async def give() -> TokenSigner:
        return signer

    while True:
        while (sealed := await sealer.seal(give)) is not None and sealed.more:
            pass
        await asyncio.sleep(SEAL_EVERY_S)


async def cost(dsn: str, sealer: Sealer, signer: TokenSigner, pairs: int) -> dict[str, Any]:
    """Measure in short turns, each way first by turns: a machine that is busy at times is as busy in both."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    await turn(dsn)
    for pair in range(pairs):
        for sealed in (False, True) if pair % 2 else (True, False):
            # Each turn pays for its own records only.
            await seal_rest(sealer, signer)
            sealing = asyncio.create_task(keep_sealing(sealer, signer)) if sealed else None
            rates[sealed].append(await turn(dsn))
            if sealing is not None:
                sealing.cancel()
                await asyncio.wait([sealing])
    return {
        "withoutSealer": rates[False],
        "withSealer": rates[True],
        "ratio": sum(rates[True]) / sum(rates[False]),
        "medianOfPairs": statistics.median(one / other for one, other in zip(rates[True], rates[False], strict=True)),
    }


async def fill(dsn: str, number: int) -> None:
    """Have so many records, in transactions of a thousand."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for _ in range(number // TOGETHER):
            await connection.execute(FILL.encode(), {"organization": SYSTEM_ORGANIZATION, "number": TOGETHER})


async def seal_rest(sealer: Sealer, signer: TokenSigner) -> float:
    """Seal all that is there; give the seconds."""

    async def give() -> TokenSigner:
        return signer

    began = time.monotonic()
    while (sealed := await sealer.seal(give)) is not None and sealed.new:
        pass
    return time.monotonic() - began


async def with_token(state: StateFolder) -> AsyncIterator[TokenSigner]:
    """Lend a signer of a fresh token."""
    made = prepare_token(state.token, find_module(os.environ))
    os.environ["SOFTHSM2_CONF"] = str(made.configuration)
    token = Token(
        module_path=str(made.module),
        token_label=made.label,
        token_serial=made.serial,
        pin_file=made.pin_file,
        workers=1,
    )
    await token.start()
    key_id = uuid.uuid4()
    key = await generate_signing_key(token, key_id=key_id, label="bench", spec=SEALING_KEY)
    yield TokenSigner(token, key_id, key.spki)
    await token.close()


async def measure(state: StateFolder, dsn: str, *, pairs: int, records: int) -> dict[str, Any]:
    """Measure what writers pay, then fill up, seal and give the figures."""
    database = Database(dsn, name="clm_secure_db", connections=2)
    await database.start()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SELECT clm_guard.ensure_audit_partitions(1)")
    results: dict[str, Any] = {}
    async for signer in with_token(state):

        async def known_keys(spki: bytes = signer.spki) -> list[KnownKey]:
            return [KnownKey(spki)]

        sealer = Sealer(
            origin=Origin(uuid.uuid4(), "clm_secure_db"),
            store=SealStore(database, "secure"),
            keys=known_keys,
            clock=lambda: datetime.now(UTC),
        )
        results["cost"] = await cost(dsn, sealer, signer, pairs)
        await seal_rest(sealer, signer)
        await fill(dsn, records)
        results["sealSeconds"] = await seal_rest(sealer, signer)
        results["spki"] = signer.spki.hex()
    await database.close()
    return results


def verification(dsn: str, spki: bytes) -> dict[str, Any]:
    """Verify everything as the auditor does."""
    began = time.monotonic()
    with open_ledger(dsn, "secure") as ledger:
        report = verify(DatabaseSource(ledger), keys=[spki])
    return {
        "seconds": time.monotonic() - began,
        "records": report.records,
        "batches": report.batches,
        "unsealed": report.unsealed,
        "problems": report.found,
        "peakMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records that are verified")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of turns, with and without a sealer")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="clm-bench-"))
    folder.chmod(0o711)
    state = StateFolder(folder)
    state.prepare()
    database = DevDatabase(state, "secure")
    try:
        dsn = database.start()
        results = uvloop.run(measure(state, dsn, pairs=arguments.pairs, records=arguments.records))
        auditor = database.cluster().dsn(database.database, "clm_auditor")
        results["verify"] = verification(auditor, bytes.fromhex(results.pop("spki")))
    finally:
        database.stop()
        state.delete()
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    results["when"] = datetime.now(UTC).isoformat(timespec="seconds")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "seal.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))
    told(results)


def told(results: dict[str, Any]) -> None:
    """Say of each figure whether it is what it has to be."""
    cost, proof = results["cost"], results["verify"]
    per_million = proof["seconds"] / proof["records"] * 1_000_000
    verdict = "met" if cost["ratio"] >= LEAST_RATIO else "MISSED"
    print(
        f"{verdict}: writers with a sealer reach {cost['ratio']:.2f} of what they reach without (at least"
        f" {LEAST_RATIO:.2f}; median of pairs {cost['medianOfPairs']:.2f})"
    )
    verdict = "met" if per_million < MOST_S_PER_MILLION and not proof["problems"] else "MISSED"
    print(
        f"{verdict}: {proof['records']} records verify in {proof['seconds']:.1f} s, a million in {per_million:.1f} s"
        f" (less than {MOST_S_PER_MILLION:.0f} s), with {proof['problems']} problems, in {proof['peakMegabytes']} MB"
    )


if __name__ == "__main__":
    main()
