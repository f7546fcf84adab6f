"""The program in docs/audit.md verifies a log without any of CLM, and finds what CLM finds."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clm.audit.checkpoint import Origin, public_pem
from clm.audit.dump import export
from clm.audit.seal import Sealer
from clm.resources.audit import AuditRecord
from clm.resources.seals import KnownKey
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.database import Database
from clm.storage.ledger import open_ledger
from clm.storage.records import RecordStore
from clm.storage.seals import SealStore
from tests.docs.pages import ROOT, fences

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fix_postgres import DatabasePair

AUDIT = ROOT / "docs" / "audit.md"
BATCHES = 3
RECORDS = 5


@dataclass(frozen=True, slots=True)
class FileSigner:
    """Signs with a key in memory; the page is about what is signed, not by what."""

    key_id: uuid.UUID = field(default_factory=uuid.uuid4)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        """Public key."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign(self, data: bytes) -> bytes:
        """Sign."""
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


async def seal_some(dsn: str, signer: FileSigner) -> None:
    """Write records and seal them, some at a time."""
    database = Database(dsn, name="clm_core_db", connections=2)
    await database.start()

    async def open_signer() -> FileSigner:
        return signer

    async def known_keys() -> list[KnownKey]:
        return [KnownKey(signer.spki)]

    try:
        sealer = Sealer(
            origin=Origin(uuid.uuid4(), "clm_core_db"),
            store=SealStore(database, "core"),
            keys=known_keys,
            clock=lambda: datetime.now(UTC),
        )
        for batch in range(BATCHES):
            for number in range(RECORDS):
                await RecordStore(database, "core").record(
                    AuditRecord(
                        organization_id=SYSTEM_ORGANIZATION,
                        action="certificate.refuse",
                        object_type="certificate-object",
                        object_id=f"{batch}/{number}",
                        reason="Denied — größer als erlaubt" if number else None,
                        details={"message": "ü\u2028", "number": number},
                    )
                )
            sealed = await sealer.seal(open_signer)
            assert sealed is not None
            assert sealed.new
    finally:
        await database.close()


@pytest.fixture(scope="module")
def original(migrated: DatabasePair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export, its public key, and the program of the page."""
    folder = tmp_path_factory.mktemp("original")
    signer = FileSigner()
    asyncio.run(seal_some(migrated.core, signer))
    (folder / "key.pem").write_text(public_pem(signer.spki), encoding="ascii")
    with (
        open_ledger(migrated.dsn("core", "clm_auditor"), "core") as ledger,
        (folder / "log.jsonl").open("wb") as file,
    ):
        assert export(ledger, file) == BATCHES * RECORDS
    (program,) = (fence.text for fence in fences(AUDIT) if fence.language == "python")
    (folder / "verify.py").write_text(program, encoding="utf-8")
    return folder


@pytest.fixture
def exported(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "exported"))


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as the page says, without what CLM is installed with."""
    command = [sys.executable, "-I", "-S", "verify.py", "log.jsonl", "key.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def change(folder: Path, act: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the exported log."""
    file = folder / "log.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    act(lines)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def records_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records among the lines."""
    return [line for line in lines if "kind" not in line]


def test_an_honest_log_is_proven(exported: Path) -> None:
    """It counts every record and shows the newest seal."""
    done = run(exported)
    assert done.returncode == 0, done.stderr
    assert f"{BATCHES * RECORDS} records are as they were sealed." in done.stdout
    assert f"clm_core_db\n{BATCHES}\n" in done.stdout


@pytest.mark.parametrize(
    "act",
    [
        lambda lines: records_of(lines)[7].update(reason="another"),
        lambda lines: records_of(lines)[7].update(outcome="denied"),
        lambda lines: lines.remove(records_of(lines)[7]),
        lambda lines: lines.append({**records_of(lines)[7], "id": str(uuid.uuid4())}),
        lambda lines: next(line for line in lines if line.get("kind") == "seal").update(
            note=next(line for line in lines if line.get("kind") == "seal")["note"].replace("total 5", "total 6")
        ),
        lambda lines: lines.remove(next(line for line in lines if line.get("kind") == "seal")),
    ],
    ids=["changed", "outcome", "removed", "inserted", "seal-changed", "seal-removed"],
)
def test_tampering_is_found(exported: Path, act: Callable[[list[dict[str, Any]]], None]) -> None:
    """Whatever is done to records or seals, it refuses."""
    change(exported, act)
    assert run(exported).returncode != 0
