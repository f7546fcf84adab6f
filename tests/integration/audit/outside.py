"""A controller's sealing over a real database and API server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from clm.cluster import paths
from clm.cluster.anchors import NAME, AnchorStore
from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.controllers.sealing import SealingController
from clm.errors import HsmUnavailable
from clm.storage.database import Database
from clm.storage.records import RecordStore
from tests.integration.audit.conftest import FileSigner, Log, sealer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane

SECURE = "clm_secure_db"

_numbers = count(1)


class Outside:
    """A controller's sealing over a real database and API server, in a namespace of its own."""

    def __init__(self, log: Log, client: ApiClient, database: Database, namespace: str) -> None:
        self.log = log
        self.client = client
        self.database = database
        self.namespace = namespace
        self.registry = CollectorRegistry()
        self.token_away = False

    def controller(self, *, file: Path | None = None, client: ApiClient | None = None) -> SealingController:
        """A controller that has just started."""
        self.registry = CollectorRegistry()
        return SealingController(
            logs=[(sealer_of(self.log, self.database), RecordStore(self.database, self.log.ledger))],
            signer=self._signer,  # type: ignore[arg-type]
            keys=self.log.known_keys,
            anchors=AnchorStore(client or self.client, namespace=self.namespace),
            anchor_file=file,
            anchor_interval_s=0.0,
            registry=self.registry,
        )

    async def anchor(self) -> dict[str, Any]:
        """The ConfigMap."""
        return await self.client.get(paths.config_map(self.namespace, NAME)) or {}

    async def put(self, data: dict[str, str | None]) -> None:
        """Write into the ConfigMap, as somebody else."""
        await self.client.merge_patch(paths.config_map(self.namespace, NAME), {"data": data})

    def metric(self, name: str) -> float:
        """A metric of the newest controller."""
        value = self.registry.get_sample_value(name, {"database": SECURE})
        assert value is not None
        return value

    async def _signer(self) -> FileSigner:
        if self.token_away:
            raise HsmUnavailable("the token is away")
        assert isinstance(self.log.signer, FileSigner)
        return self.log.signer


@asynccontextmanager
async def outside(log: Log, control_plane: ControlPlane) -> AsyncIterator[Outside]:
    """Lend all of it."""
    credentials = await load_credentials(str(control_plane.kubeconfig))
    client = ApiClient(open_session(credentials, connections=2), credentials.server)
    database = Database(log.operator, name=SECURE, connections=2, timeout_s=2)
    namespace = f"anchor-{next(_numbers)}"
    try:
        await client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        await database.start()
        yield Outside(log, client, database, namespace)
    finally:
        await database.close()
        await client.close()


async def once(controller: SealingController) -> None:
    """One round of the loop."""
    for log in controller._logs:
        await controller._attend(log)
    await controller._anchor()
