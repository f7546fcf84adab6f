"""What publishes CRLs, wired over real databases and a real token, with a clock that a test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from psycopg.rows import dict_row

from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.crl_rounds import CrlRounds
from clm.lifecycle.crls import CrlPublisher
from clm.pki.keys import spki_der
from clm.pki.tbs import ThrowawayKeys
from clm.pki.urls import Publishing
from clm.resources.authority import AuthoritySpec, CrlSpec
from clm.storage.core.crls import CrlStore, IssuerRow
from clm.storage.database import Database
from clm.storage.secure.revoked import RevokedStore
from tests.integration.issuance.workshop import ORGANIZATION, Workshop, open_workshop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.issue import Issued
    from clm.pki.profile import Issuer
    from tests.fix_postgres import DatabasePair
    from tests.fix_token import TokenStore

BASE_URL = "http://pki.example.com"
DAY = timedelta(days=1)
_THROWAWAY = ThrowawayKeys()

_REVOKE = """
INSERT INTO certificate_revocations
    (organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at)
SELECT organization_id, id, issuer_key_id, serial_number, %s, now() FROM certificates WHERE id = %s
"""


@dataclass(slots=True)
class Press:
    """One controller's part that publishes; `ahead` is how far its clock is."""

    shop: Workshop
    core: Database
    responder_dsn: str
    store: CrlStore
    revoked: RevokedStore
    root: Issuer
    ahead: timedelta = timedelta(0)
    authority: AuthoritySpec = field(default_factory=lambda: AuthoritySpec(crl=CrlSpec(), ocsp=True))

    def now(self) -> datetime:
        """Tell the time as the controller takes it."""
        return datetime.now(UTC) + self.ahead

    def rounds(self, boundary: Boundary = no_boundary) -> CrlRounds:
        """Start another controller: it knows nothing yet."""
        publisher = CrlPublisher(
            token=self.shop.token,
            revoked=self.revoked,
            store=self.store,
            throwaway=_THROWAWAY,
            boundary=boundary,
            hsm_deadline_s=30,
            clock=self.now,
        )
        return CrlRounds(store=self.store, revoked=self.revoked, publisher=publisher, clock=self.now)

    async def announce(self, authority: AuthoritySpec | None = None) -> None:
        """Have the responder know the root as it publishes now."""
        self.authority = authority or self.authority
        crl = self.authority.crl or CrlSpec()
        assert self.root.subject is not None
        row = IssuerRow(
            issuer_key_id=self.root.key_id,
            organization_id=ORGANIZATION,
            name="shop/root",
            subject=self.root.subject.public_bytes(),
            spki=spki_der(self.root.public_key),
            certificate=self.root.chain[0],
            chain=[],
            base_urls=[BASE_URL],
            crl_enabled=self.authority.crl is not None,
            crl_lifetime=crl.lifetime,
            crl_shards=crl.shards,
            ocsp_enabled=self.authority.ocsp,
        )
        await self.store.put_issuer(row)

    async def round(self, rounds: CrlRounds) -> int:
        """Go round once, with everything read anew; tell how many CRLs were published."""
        await rounds.refresh()
        return sum([(await rounds.publish(known)).count for known in await rounds.due()])

    async def leaf(self, name: str) -> Issued:
        """Issue a leaf, with the URLs that the root has."""
        publishing = Publishing(BASE_URL, self.root.key_id, self.authority)
        return await self.shop.issue(self.root, self.shop.owner(name), publishing=publishing)

    async def revoke(self, certificate: Issued, *, reason: int = 1) -> None:
        """Record a revocation, as it is before any CRL lists it."""
        async with self.shop.database.connection() as connection:
            await connection.execute(_REVOKE, [reason, certificate.id])

    async def waiting(self) -> int:
        """Count the revocations that no CRL lists yet."""
        rows = await self.shop.query("SELECT id FROM certificate_revocations WHERE published_at IS NULL")
        return len(rows)

    async def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one statement in clm_core_db."""
        async with self.core.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def der(self, shards: int = 1, shard: int = 0) -> bytes:
        """Read a published CRL."""
        (row,) = await self.query("SELECT crl FROM clm_status.crls WHERE shards = %s AND shard = %s", shards, shard)
        return bytes(row["crl"])

    async def crl(self, shards: int = 1, shard: int = 0) -> x509.CertificateRevocationList:
        """Read a published CRL, and verify its signature."""
        crl = x509.load_der_x509_crl(await self.der(shards, shard))
        assert crl.is_signature_valid(self.root.public_key)
        return crl

    async def serials(self, shards: int = 1, shard: int = 0) -> set[int]:
        """Serial numbers that a published CRL lists."""
        return {revoked.serial_number for revoked in await self.crl(shards, shard)}

    async def number(self, shards: int = 1, shard: int = 0) -> int:
        """CRLNumber of a published CRL."""
        crl = await self.crl(shards, shard)
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serial_of(issued: Issued) -> int:
    """Serial number of a certificate."""
    return int.from_bytes(issued.facts.serial_number, "big")


@asynccontextmanager
async def open_press(databases: DatabasePair, token_store: TokenStore) -> AsyncIterator[Press]:
    """Open what publishes for a cluster of its own, with a root that publishes CRLs. It has the operator's rights."""
    core = Database(databases.core, name="clm_core_db", connections=3)
    await core.start()
    try:
        async with open_workshop(databases.secure, token_store) as shop:
            press = Press(
                shop=shop,
                core=core,
                responder_dsn=databases.dsn("core", "clm_responder"),
                store=CrlStore(core, origin="test", version="0"),
                revoked=RevokedStore(shop.database, cluster_id=shop.cluster_id),
                root=await shop.root(),
            )
            await press.announce()
            yield press
    finally:
        await core.close()
