"""The sweep of unfinished work: what one dependency keeps from being done does not keep the rest."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.lifecycle.relay import Relay
from clm.lifecycle.view import ClusterView
from clm.storage.core.metadata import MetadataStore
from clm.storage.database import Database
from tests.e2e.manifests import authority
from tests.integration.issuance.revoking import revoker_over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from clm.dev.controlplane import ControlPlane
    from clm.dev.postgres import PostgresCluster
    from clm.lifecycle.view import Key
    from tests.fix_postgres import DatabasePair
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop

NAMESPACE = "shop"


@asynccontextmanager
async def _relay(
    shop: Workshop, core_dsn: str, plane: ControlPlane, look_closely: Callable[[Key], None] = lambda _: None
) -> AsyncIterator[tuple[Relay, ApiClient]]:
    """Make a relay over the real cluster and both real databases."""
    core = Database(core_dsn, name="clm_core_db", connections=2)
    await core.start()
    credentials = await load_credentials(str(plane.kubeconfig))
    try:
        async with open_session(credentials, connections=4) as session:
            client = ApiClient(session, credentials.server)
            yield (
                Relay(
                    cluster_id=shop.cluster_id,
                    view=ClusterView(),
                    client=client,
                    history=shop.history,
                    outbox=shop.outbox,
                    issuance=shop.issuance(),
                    metadata=MetadataStore(core, origin="test", version="0"),
                    revoker=revoker_over(shop, core),
                    keys=shop.keys,
                    hsm_keys=shop.hsm_keys,
                    look_closely=look_closely,
                ),
                client,
            )
    finally:
        await core.close()


async def _until(look: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 30
    while not await look():
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.02)


def test_outage_of_the_token_does_not_keep_what_is_signed_from_being_published(
    workshop: Opener, databases: DatabasePair, postgres_cluster: PostgresCluster, control_plane: ControlPlane
) -> None:
    """An intent that cannot be signed ends its half of the sweep only: the outbox is emptied into the inventory."""
    core_dsn = postgres_cluster.superuser_dsn(str(conninfo_to_dict(databases.core)["dbname"]))

    async def act() -> None:
        async with workshop() as shop, _relay(shop, core_dsn, control_plane) as (relay, _):
            issuer = await shop.root()
            recorded = await shop.issue(issuer, shop.owner("web"))
            pending = await shop.leave_pending(issuer, shop.owner("cut"))
            await shop.token.close()
            running = asyncio.create_task(relay.run(interval_s=0.05))

            async def published() -> bool:
                assert not running.done()
                return not await shop.query("SELECT id FROM clm_work.outbox")

            await _until(published, "the outbox to be empty")
            running.cancel()
            assert await shop.history.intent(pending) is not None
            with psycopg.connect(core_dsn) as connection:
                found = {row[0] for row in connection.execute("SELECT id FROM certificate_metadata")}
            assert found == {recorded.id, issuer.certificate_id}

    asyncio.run(act())


def test_unfinished_key_of_a_vanished_object_is_discarded(
    workshop: Opener, databases: DatabasePair, postgres_cluster: PostgresCluster, control_plane: ControlPlane
) -> None:
    """The key of an object that stands is left to its reconcile; that of an object that is gone goes after a while."""
    core_dsn = postgres_cluster.superuser_dsn(str(conninfo_to_dict(databases.core)["dbname"]))

    async def act() -> None:
        async with workshop() as shop, _relay(shop, core_dsn, control_plane) as (relay, client):
            await client.create(
                "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "unfinished"}}
            )
            path = "/apis/clm-operator.io/v1alpha1/namespaces/unfinished/certificates"
            body = await client.create(path, authority("unfinished", "stands", "p"))
            stands = shop.owner("stands", uid=body["metadata"]["uid"])._replace(namespace="unfinished")
            gone = shop.owner("gone")._replace(namespace="unfinished")
            rows = [shop.ca_key(stands), shop.ca_key(gone)]
            for row in rows:
                await shop.cut(row)
            await relay.discard_keys(older_than_s=3600)
            assert await _states(shop) == {"stands": "generating", "gone": "generating"}
            await relay.discard_keys(older_than_s=0)
            assert await _states(shop) == {"stands": "generating", "gone": "destroyed"}

    asyncio.run(act())


async def _states(shop: Workshop) -> dict[str, str]:
    rows = await shop.query("SELECT name, state FROM encryption_keys WHERE purpose = 'ca-signing'")
    return {row["name"]: row["state"] for row in rows}
