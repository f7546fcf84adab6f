"""The Secret is never put back: a process that was paused finds in the record that its certificate was replaced."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from clm.cluster import paths
from clm.cluster.client import ApiClient
from clm.cluster.secrets import SecretStore, SecretVersion
from clm.cluster.session import load_credentials, open_session
from clm.errors import StaleObject
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.publish import Publication, Publisher, secret_content
from clm.lifecycle.renewal import Renewal
from clm.resources.certificate import parse_certificate
from clm.storage.core.metadata import MetadataStore
from clm.storage.database import Database
from tests.integration.issuance.workshop import LEAF, ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clm.dev.controlplane import ControlPlane
    from clm.dev.postgres import PostgresCluster
    from clm.lifecycle.issue import Issued
    from clm.pki.profile import Issuer
    from clm.resources.records import Owner
    from tests.fix_postgres import DatabasePair
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop

_numbers = count(1)


@dataclass(slots=True)
class Counter:
    """A desk that publishes into one namespace."""

    shop: Workshop
    issuer: Issuer
    publisher: Publisher
    client: ApiClient
    namespace: str

    def owner(self, name: str) -> Owner:
        """Name an object in the namespace."""
        return self.shop.owner(name)._replace(namespace=self.namespace)

    async def issue(self, owner: Owner, revision: int) -> Publication:
        """Issue a revision, and describe what is to be published of it."""
        issued = await self.shop.issue(self.issuer, owner, revision=revision)
        return self._publication(owner, issued, revision)

    async def secret(self) -> dict[str, Any] | None:
        """Read the Secret."""
        return await self.client.get(paths.secret(self.namespace, "s"))

    async def edit(self, patch: dict[str, Any]) -> None:
        """Change the Secret as a person would."""
        await self.client.merge_patch(paths.secret(self.namespace, "s"), patch)

    def _publication(self, owner: Owner, issued: Issued, revision: int) -> Publication:
        return Publication(
            id=issued.id,
            organization_id=ORGANIZATION,
            owner=owner,
            revision=revision,
            spec=parse_certificate(LEAF),
            certificate=issued.certificate,
            facts=issued.facts,
            chain=self.issuer.chain,
            issuer_key_id=self.issuer.key_id,
            issuer_certificate_id=self.issuer.certificate_id,
            issuer_name="shop/root",
            policy_name="p",
            policy_generation=1,
            renewal=Renewal(datetime.now(UTC)),
            private_key=issued.private_key,
        )


@asynccontextmanager
async def _counter(workshop: Opener, core_dsn: str, plane: ControlPlane) -> AsyncIterator[Counter]:
    core = Database(core_dsn, name="clm_core_db", connections=2)
    await core.start()
    credentials = await load_credentials(str(plane.kubeconfig))
    namespace = f"publish-{next(_numbers)}"
    try:
        async with workshop() as shop, open_session(credentials, connections=4) as session:
            client = ApiClient(session, credentials.server)
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await client.create("/api/v1/namespaces", body)
            publisher = Publisher(
                metadata=MetadataStore(core, origin="test", version="0"),
                secrets=SecretStore(client),
                history=shop.history,
                boundary=no_boundary,
            )
            yield Counter(shop, await shop.root(), publisher, client, namespace)
    finally:
        await core.close()


@pytest.fixture
def core_dsn(databases: DatabasePair, postgres_cluster: PostgresCluster) -> str:
    """The inventory of this test."""
    return postgres_cluster.superuser_dsn(str(conninfo_to_dict(databases.core)["dbname"]))


def _holds(secret: dict[str, Any] | None, publication: Publication) -> bool:
    wanted = secret_content(publication)
    assert secret is not None
    return bool(secret["metadata"]["annotations"]["clm-operator.io/revision"] == str(publication.revision)) and set(
        secret["data"]
    ) == set(wanted.data)


@pytest.mark.parametrize("known", ["as it was", "nothing"])
def test_paused_process_does_not_put_an_older_certificate_back(
    workshop: Opener, core_dsn: str, control_plane: ControlPlane, known: str
) -> None:
    """Revision 2 stands; who comes late with revision 1 is told to look again, and the Secret is not touched."""

    async def act() -> None:
        async with _counter(workshop, core_dsn, control_plane) as desk:
            owner = desk.owner("web")
            old = await desk.issue(owner, 1)
            first = await desk.publisher.publish(old, probably_new=True, known=None)
            new = await desk.issue(owner, 2)
            await desk.publisher.publish(new, probably_new=False, known=first)
            before = await desk.secret()
            stale = first if known == "as it was" else None
            with pytest.raises(StaleObject, match="replaced meanwhile"):
                await desk.publisher.publish(old, probably_new=stale is None, known=stale)
            assert await desk.secret() == before
            assert _holds(before, new)

    asyncio.run(act())


def test_paused_process_does_not_create_a_lost_secret_with_an_older_certificate(
    workshop: Opener, core_dsn: str, control_plane: ControlPlane
) -> None:
    """The same where somebody has deleted the Secret: it stays away until the newest certificate is published."""

    async def act() -> None:
        async with _counter(workshop, core_dsn, control_plane) as desk:
            owner = desk.owner("web")
            old = await desk.issue(owner, 1)
            first = await desk.publisher.publish(old, probably_new=True, known=None)
            new = await desk.issue(owner, 2)
            second = await desk.publisher.publish(new, probably_new=False, known=first)
            await desk.client.request("DELETE", paths.secret(desk.namespace, "s"))
            with pytest.raises(StaleObject, match="replaced meanwhile"):
                await desk.publisher.publish(old, probably_new=False, known=first)
            assert await desk.secret() is None
            await desk.publisher.publish(new, probably_new=False, known=second)
            assert _holds(await desk.secret(), new)

    asyncio.run(act())


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"clm-operator.io/revision": "99"}}},
        {"metadata": {"annotations": {"clm-operator.io/certificate-id": None}}},
        {"data": {"tls.key": ""}},
    ],
    ids=["higher revision", "no certificate", "no key"],
)
def test_edited_secret_is_mended(
    workshop: Opener, core_dsn: str, control_plane: ControlPlane, patch: dict[str, Any]
) -> None:
    """Whatever people write into the Secret says nothing about what is newest: the record does."""

    async def act() -> None:
        async with _counter(workshop, core_dsn, control_plane) as desk:
            only = await desk.issue(desk.owner("web"), 1)
            version = await desk.publisher.publish(only, probably_new=True, known=None)
            before = await desk.secret()
            assert before is not None
            await desk.edit(patch)
            mended = await desk.publisher.publish(only, probably_new=False, known=version)
            after = await desk.secret()
            assert after is not None
            assert mended == SecretVersion(after["metadata"]["uid"], after["metadata"]["resourceVersion"])
            assert (after["data"], after["metadata"]["annotations"]) == (
                before["data"],
                before["metadata"]["annotations"],
            )

    asyncio.run(act())


def test_object_created_again_replaces_the_secret_of_its_namesake(
    workshop: Opener, core_dsn: str, control_plane: ControlPlane
) -> None:
    """Its revisions start at 1 again, and its certificate is the one that stands."""

    async def act() -> None:
        async with _counter(workshop, core_dsn, control_plane) as desk:
            earlier = desk.owner("web")
            version = await desk.publisher.publish(await desk.issue(earlier, 1), probably_new=True, known=None)
            old = await desk.issue(earlier, 2)
            await desk.publisher.publish(old, probably_new=False, known=version)
            new = await desk.issue(desk.owner("web"), 1)
            await desk.publisher.publish(new, probably_new=True, known=None)
            assert _holds(await desk.secret(), new)
            with pytest.raises(StaleObject, match="replaced meanwhile"):
                await desk.publisher.publish(old, probably_new=False, known=version)
            assert _holds(await desk.secret(), new)

    asyncio.run(act())
