"""The parts that issue, wired over a real database and a real token, for tests that act between their steps."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.issue import Issuance
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.request import Order, RequestBuilder
from clm.lifecycle.rsa_keys import RsaKeys
from clm.pki.profile import Issuer
from clm.pki.tbs import ThrowawayKeys
from clm.resources.certificate import parse_certificate
from clm.resources.keys import KeySpec
from clm.resources.records import HsmKeyRow, Owner
from clm.storage.database import Database
from clm.storage.secure.history import HistoryStore
from clm.storage.secure.intents import IntentStore
from clm.storage.secure.issued import IssuedStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.outbox import OutboxStore
from clm.storage.secure.private_keys import PrivateKeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.issue import Issued
    from clm.resources.records import StoredIntent
    from tests.fix_token import TokenStore

ORGANIZATION = uuid.UUID(int=7)
P256 = KeySpec("ECDSA", 256)
_AUDIT = {"origin": "test", "version": "0"}
LEAF: dict[str, Any] = {
    "policyRef": {"name": "p"},
    "secretName": "s",
    "dnsNames": ["web.example.com"],
    "usages": ["digital signature", "server auth"],
    "duration": "24h",
}
_ROOT: dict[str, Any] = {
    "policyRef": {"name": "p"},
    "secretName": "root",
    "commonName": "Root",
    "isCA": True,
    "duration": "87600h",
    "usages": ["digital signature", "cert sign", "crl sign"],
}


_ISSUING: dict[str, Any] = {**_ROOT, "secretName": "issuing", "commonName": "Issuing", "duration": "43800h"}


class Crash(BaseException):
    """Stands for the end of the process."""


def crash_at(boundary: str) -> Boundary:
    """End the process at that boundary."""

    def pass_or_die(name: str, /) -> None:
        if name == boundary:
            raise Crash(name)

    return pass_or_die


@dataclass(slots=True)
class Workshop:
    """One operator's parts; several may share a database."""

    cluster_id: uuid.UUID
    database: Database
    token: Token
    keys: KeyStore
    hsm_keys: HsmKeys
    keyring: Keyring
    history: HistoryStore
    outbox: OutboxStore
    intents: IntentStore
    issued: IssuedStore
    requests: RequestBuilder

    def owner(self, name: str, *, uid: uuid.UUID | None = None) -> Owner:
        """Name an object of this operator's cluster."""
        return Owner(self.cluster_id, uid or uuid.uuid4(), "shop", name)

    def issuance(self, boundary: Boundary = no_boundary) -> Issuance:
        """Make the procedure, with a boundary of its own."""
        return Issuance(
            token=self.token,
            requests=self.requests,
            intents=self.intents,
            issued=self.issued,
            boundary=boundary,
            hsm_deadline_s=30,
        )

    def ca_key(self, owner: Owner, algorithm: KeySpec = P256) -> HsmKeyRow:
        """Describe a CA key that is not made yet."""
        return HsmKeyRow(
            id=uuid.uuid4(),
            organization_id=ORGANIZATION,
            purpose="ca-signing",
            algorithm=str(algorithm),
            version=1,
            label=f"clm-ca-{owner.name}",
            state="generating",
            owner=owner,
        )

    async def cut(self, row: HsmKeyRow, *, boundary: str = "hsm.key-generated") -> None:
        """Make a CA key, and die on the way."""
        try:
            await HsmKeys(token=self.token, store=self.keys, boundary=crash_at(boundary)).ensure(row)
        except Crash:
            return
        raise AssertionError(f"{boundary} was not passed")

    async def root(self) -> Issuer:
        """Make a self-signed CA."""
        owner = self.owner("root")
        row = await self.hsm_keys.ensure(self.ca_key(owner))
        assert row.spki is not None
        issuer = Issuer.self_signed(key_id=row.id, spec=P256, spki=row.spki)
        issued = await self.issue(issuer, owner, _ROOT, subject_key_id=row.id, subject_spki=row.spki)
        return Issuer.from_chain((issued.certificate,), key_id=row.id, spec=P256, certificate_id=issued.id)

    async def intermediate(self, above: Issuer, owner: Owner) -> Issuer:
        """Make a CA below another."""
        row = await self.hsm_keys.ensure(self.ca_key(owner))
        assert row.spki is not None
        issued = await self.issue(above, owner, _ISSUING, subject_key_id=row.id, subject_spki=row.spki)
        chain = (issued.certificate, *above.chain)
        return Issuer.from_chain(chain, key_id=row.id, spec=P256, certificate_id=issued.id)

    def order(
        self,
        issuer: Issuer,
        owner: Owner,
        manifest: dict[str, Any] | None = None,
        *,
        revision: int = 1,
        **key: Any,
    ) -> Order:
        """Order a certificate; without a manifest a leaf."""
        return Order(
            owner=owner,
            organization_id=ORGANIZATION,
            spec=parse_certificate(manifest or LEAF),
            generation=1,
            revision=revision,
            reason="initial",
            policy_uid=None,
            policy_generation=1,
            issuer=issuer,
            **key,
        )

    async def issue(
        self,
        issuer: Issuer,
        owner: Owner,
        manifest: dict[str, Any] | None = None,
        *,
        revision: int = 1,
        boundary: Boundary = no_boundary,
        now: datetime | None = None,
        **key: Any,
    ) -> Issued:
        """Issue a certificate."""
        order = self.order(issuer, owner, manifest, revision=revision, **key)
        moment = now or datetime.now(UTC)
        return await self.issuance(boundary).issue(order, now=moment, renewal_due=lambda facts: facts.not_after)

    async def leave_pending(
        self,
        issuer: Issuer,
        owner: Owner,
        manifest: dict[str, Any] | None = None,
        *,
        boundary: str = "issue.intent-written",
    ) -> uuid.UUID:
        """Issue, and die between intent and record; give the intent."""
        try:
            await self.issue(issuer, owner, manifest, boundary=crash_at(boundary))
        except Crash:
            rows = await self.query("SELECT id FROM certificate_requests WHERE resource_uid = %s", owner.resource_uid)
            return uuid.UUID(str(rows[0]["id"]))
        raise AssertionError(f"{boundary} was not passed")

    async def finish(self, intent: StoredIntent, *, unwanted: str | None = None) -> Issued:
        """Finish an intent that was left pending."""
        return await self.issuance().finish(
            intent, secret_name="s", renewal_due=lambda facts: facts.not_after, unwanted=unwanted
        )

    async def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one statement in clm_secure_db."""
        async with self.database.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def audited(self, certificate_id: uuid.UUID) -> list[tuple[str, str | None]]:
        """Read the acts on one certificate, in order, with their reasons."""
        rows = await self.query(
            "SELECT action, reason FROM secure_audit_log WHERE object_id = %s ORDER BY occurred_at, action",
            str(certificate_id),
        )
        return [(row["action"], row["reason"]) for row in rows]


@asynccontextmanager
async def open_workshop(dsn: str, token_store: TokenStore, *, workers: int = 1) -> AsyncIterator[Workshop]:
    """Open the parts of an operator, for a cluster of its own. The key-encryption key is made if there is none."""
    database = Database(dsn, name="clm_secure_db", connections=4)
    await database.start()
    keygen = ThreadPoolExecutor(2)
    cluster_id = uuid.uuid4()
    try:
        async with token_store.opened(workers=workers) as token:
            keys = KeyStore(database, **_AUDIT)
            hsm_keys = HsmKeys(token=token, store=keys, boundary=no_boundary)
            keyring = Keyring(keys=hsm_keys, store=keys)
            await keyring.open()
            yield Workshop(
                cluster_id=cluster_id,
                database=database,
                token=token,
                keys=keys,
                hsm_keys=hsm_keys,
                keyring=keyring,
                history=HistoryStore(database, cluster_id=cluster_id),
                outbox=OutboxStore(database, cluster_id=cluster_id),
                intents=IntentStore(database, **_AUDIT),
                issued=IssuedStore(database, **_AUDIT),
                requests=RequestBuilder(
                    token=token,
                    keyring=keyring,
                    private_keys=PrivateKeyStore(database),
                    throwaway=ThrowawayKeys(),
                    rsa_keys=RsaKeys(keygen, ready=lambda _: None),
                ),
            )
    finally:
        keygen.shutdown(wait=True)
        await database.close()
