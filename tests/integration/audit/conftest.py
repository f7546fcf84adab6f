"""A database with a sealed log, and what the tests do to it as a superuser who wants to hide something."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clm.audit.checkpoint import Checkpoint, Origin, SignedNote
from clm.audit.seal import Sealed, Sealer
from clm.audit.source import DatabaseSource
from clm.audit.verify import verify
from clm.resources.audit import AuditRecord
from clm.resources.seals import DATABASES, TABLES, KnownKey
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage import audit_sql
from clm.storage.database import Database
from clm.storage.ledger import open_ledger
from clm.storage.seals import SealStore
from tests.integration.audit.months import MONTH, NEXT, put_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clm.audit.anchor import Ends
    from clm.audit.report import Report
    from clm.audit.signer import TokenSigner
    from clm.dev.postgres import PostgresCluster
    from clm.resources.seals import LedgerName
    from tests.fix_postgres import DatabasePair

CLUSTER = uuid.UUID("6f1e4a52-8d0c-4f5e-9c57-2f3a0d1b7ac2")


@dataclass(frozen=True, slots=True)
class FileSigner:
    """Signs with a key in memory: for logs that are about something else than the token, and for forgers."""

    key_id: uuid.UUID = field(default_factory=uuid.uuid4)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        """Public key."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign(self, data: bytes) -> bytes:
        """Sign."""
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(slots=True)
class Log:
    """One audit log in a database of its own."""

    ledger: LedgerName
    superuser: str
    signer: FileSigner | TokenSigner
    origin: Origin
    compromised: list[FileSigner] = field(default_factory=list)
    former: list[FileSigner | TokenSigner] = field(default_factory=list)

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self.former.append(self.signer)
        self.signer = FileSigner()

    async def known_keys(self) -> list[KnownKey]:
        """The keys that were made for seals, as encryption_keys would have them."""
        return [KnownKey(key.spki, compromised=key in self.compromised) for key in (*self.former, self.signer)]

    @property
    def table(self) -> str:
        """The table."""
        return f"public.{TABLES[self.ledger]}"

    def as_role(self, role: str) -> str:
        """DSN of a session with the rights of a role."""
        return make_conninfo(self.superuser, options=f"-c role={role}")

    @property
    def operator(self) -> str:
        """DSN of the operator."""
        return self.as_role(f"clm_operator_{self.ledger}")

    def connect(self, dsn: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as a superuser, or otherwise."""
        return psycopg.connect(dsn or self.superuser, autocommit=True)

    def write(self, *actions: str, together: bool = False) -> list[str]:
        """Write records; each in a transaction of its own unless `together`. Gives their ids."""
        ids = []
        with self.connect(self.operator) as connection:
            rows = [_record(number, action) for number, action in enumerate(actions)]
            if together:
                with connection.transaction():
                    ids = [self._insert(connection, row) for row in rows]
            else:
                ids = [self._insert(connection, row) for row in rows]
        return ids

    def _insert(self, connection: psycopg.Connection[tuple[Any, ...]], record: AuditRecord) -> str:
        statement = f"INSERT INTO {self.table} ({audit_sql.COLUMNS}) VALUES ({audit_sql.VALUES}) RETURNING id::text"
        row = connection.execute(
            statement.encode(), audit_sql.parameters(record, origin="test", version="0")
        ).fetchone()
        assert row is not None
        return str(row[0])

    async def open_signer(self) -> FileSigner | TokenSigner:
        """What the sealer asks for when there is something to sign."""
        return self.signer

    def seal(self, *, batch_records: int = 20_000, known: SignedNote | None = None) -> list[Sealed]:
        """Seal all that can be sealed."""
        return asyncio.run(seal_all(self, batch_records=batch_records, known=known))

    def verify(
        self, *, anchor: SignedNote | None = None, keys: Sequence[bytes] | None = None, ends: Ends | None = None
    ) -> Report:
        """Verify with the public key that this test knows."""
        with open_ledger(self.as_role("clm_auditor"), self.ledger) as ledger:
            trusted = [self.signer.spki] if keys is None else keys
            return verify(DatabaseSource(ledger), keys=trusted, anchor=anchor, origin=self.origin, ends=ends)

    def newest(self) -> SignedNote:
        """The newest seal's note."""
        return self.notes()[0]

    def notes(self) -> list[SignedNote]:
        """The notes of all seals, newest first."""
        rows = self.query("SELECT note FROM clm_audit.seals ORDER BY batch DESC")
        return [SignedNote.parse(str(note)) for (note,) in rows]

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as a superuser whom no guard stops: triggers are off meanwhile."""
        if statement.startswith("SELECT"):
            with self.connect() as connection:
                return connection.execute(statement.encode(), values or None).fetchall()
        tables = (self.table, *(f"clm_audit.{name}" for name in ("seals", "sealing_keys", "epochs", "archives")))
        with self.connect() as connection, connection.transaction():
            for table in tables:
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            cursor = connection.execute(statement.encode(), values or None)
            rows = cursor.fetchall() if cursor.description else []
            for table in tables:
                connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL".encode())
            return rows


async def seal_all(log: Log, *, batch_records: int, known: SignedNote | None = None) -> list[Sealed]:
    """Seal until nothing is new."""
    database = Database(log.operator, name="test", connections=2)
    await database.start()
    try:
        sealer = sealer_of(log, database, batch_records=batch_records)
        if known is not None:
            sealer.know(Checkpoint.parse(known.text))
        sealed = []
        while (made := await sealer.seal(log.open_signer)) is not None and made.new:
            sealed.append(made)
        return sealed
    finally:
        await database.close()


def sealer_of(log: Log, database: Database, *, batch_records: int = 20_000) -> Sealer:
    """Make the sealer of a log."""
    return Sealer(
        origin=log.origin,
        store=SealStore(database, log.ledger),
        keys=log.known_keys,
        clock=lambda: datetime.now(UTC),
        batch_records=batch_records,
    )


@pytest.fixture
def log(databases: DatabasePair, postgres_cluster: PostgresCluster) -> Log:
    """The log of clm_secure_db, empty, and a key in memory."""
    return _log("secure", databases, postgres_cluster, FileSigner())


@pytest.fixture
def core_log(databases: DatabasePair, postgres_cluster: PostgresCluster, log: Log) -> Log:
    """The log of clm_core_db, sealed by the same key."""
    return _log("core", databases, postgres_cluster, log.signer)


@pytest.fixture
def old(log: Log) -> Log:
    """Three batches: one of January, one over the end of it, one of February."""
    for month in (MONTH, NEXT):
        log.query(
            f"CREATE TABLE clm_audit_parts.secure_audit_log_{month:%Y_%m} PARTITION OF {log.table}"
            f" FOR VALUES FROM ('{month} 00:00Z') TO ('{month.replace(month=month.month + 1)} 00:00Z')"
        )
        log.query(f"ALTER TABLE clm_audit_parts.secure_audit_log_{month:%Y_%m} OWNER TO clm_owner")
    for number, days in enumerate((("01-05", "01-06"), ("01-31", "02-01", "01-31"), ("02-02",))):
        for day in days:
            put_at(log, f"2026-{day} 12:00Z", f"object-{number}")
        assert len(log.seal()) == 1
    return log


def _log(
    ledger: LedgerName, databases: DatabasePair, cluster: PostgresCluster, signer: FileSigner | TokenSigner
) -> Log:
    name = str(conninfo_to_dict(databases.dsn(ledger))["dbname"])
    return Log(ledger, cluster.superuser_dsn(name), signer, Origin(CLUSTER, DATABASES[ledger]))


def _record(number: int, action: str) -> AuditRecord:
    return AuditRecord(
        organization_id=SYSTEM_ORGANIZATION,
        action=action,  # type: ignore[arg-type]
        object_type="certificate",
        object_id=f"object-{number}",
        reason='because\tof \\ a "thing"\nwith lines',
        details={"number": number, "name": "Größe", "flag": True, "nested": {"b": [1, None], "a": "\\"}},
    )
