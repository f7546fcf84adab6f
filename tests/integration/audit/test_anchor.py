"""The controller's sealing: what it writes outside the database, what it endures, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from clm.audit.anchor import ends_of, give_up, read_public_keys
from clm.audit.checkpoint import Checkpoint, public_pem, sign_note
from clm.audit.tree import leaf_hash
from clm.cluster import paths
from clm.cluster.anchors import NAME, PUBLIC_KEY, AnchorStore
from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.controllers.sealing import SealingController
from clm.errors import DatabaseUnavailable, HsmUnavailable
from clm.storage.database import Database
from clm.storage.records import RecordStore
from tests.integration.audit.conftest import FileSigner, Log, sealer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane
    from clm.resources.seals import KnownKey

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


def test_written_once(log: Log, control_plane: ControlPlane) -> None:
    """A new seal is anchored with the public key; without one nothing is written, after a restart neither."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            await once(controller)
            assert await world.anchor() == {}
            log.write("key.generate")
            await once(controller)
            first = await world.anchor()
            assert first["data"][SECURE] == str(log.newest())
            assert read_public_keys(first["data"][PUBLIC_KEY]) == [log.signer.spki]
            for following in (controller, world.controller(), world.controller()):
                await once(following)
                assert (await world.anchor())["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            log.write("key.activate")
            await once(controller)
            assert (await world.anchor())["data"][SECURE] == str(log.newest()) != first["data"][SECURE]

    asyncio.run(run())


def test_another_key(log: Log, control_plane: ControlPlane) -> None:
    """When the sealing key is replaced, the anchor keeps both keys: together they prove the whole log."""

    async def run() -> str:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            for action in ("key.generate", "key.activate", "key.destroy"):
                log.write(action)
                await once(controller)
                log.rotate()
            return str((await world.anchor())["data"][PUBLIC_KEY])

    keys = read_public_keys(asyncio.run(run()))
    assert len(keys) == 3
    assert log.verify(keys=keys, anchor=log.newest()).problems == []
    assert "not trusted" in log.verify(keys=keys[1:]).problems[0].what


def test_seldom(log: Log, control_plane: ControlPlane) -> None:
    """Within the interval one anchor is enough: the next comes with the newest seal."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            controller._interval_s = 3600.0
            for _ in range(3):
                log.write("key.generate")
                await once(controller)
            assert "\n1\n" in (await world.anchor())["data"][SECURE]
            controller._interval_s = 0.0
            await once(controller)
            assert (await world.anchor())["data"][SECURE] == str(log.newest())

    asyncio.run(run())


def test_anchor_removed_or_written_by_others(log: Log, control_plane: ControlPlane) -> None:
    """An anchor that was removed comes back; one that was written meanwhile is read again, not overwritten unseen."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            log.write("key.generate")
            await once(controller)
            path = paths.config_map(world.namespace, NAME)
            await world.client.merge_patch(path, {"metadata": {"labels": {"somebody": "else"}}})
            log.write("key.activate")
            await once(controller)
            await once(controller)
            anchor = await world.anchor()
            assert (anchor["data"][SECURE], anchor["metadata"]["labels"]["somebody"]) == (str(log.newest()), "else")
            await world.client.request("DELETE", path)
            log.write("key.destroy")
            await once(controller)
            await once(controller)
            assert (await world.anchor())["data"][SECURE] == str(log.newest())

    asyncio.run(run())


def test_outages(log: Log, control_plane: ControlPlane) -> None:
    """Without token, API server or database nothing fails: it is done when they are back."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            log.write("key.generate")
            credentials = await load_credentials(str(control_plane.kubeconfig))
            nobody = ApiClient(open_session(credentials, connections=1), "https://127.0.0.1:1")
            try:
                await once(world.controller(client=nobody))
            finally:
                await nobody.close()
            # What is anchored is not known, so nothing is sealed over it.
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(0,)]
            controller = world.controller()
            world.token_away = True
            await once(controller)
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(0,)]
            world.token_away = False
            await world.database.close()
            await once(controller)
            log_away = world.metric("clm_audit_seal_lag_seconds")
            world.database = Database(log.operator, name=SECURE, connections=1)
            await world.database.start()
            await once(world.controller())
            assert log_away > 0
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(1,)]
            assert (await world.anchor())["data"][SECURE] == str(log.newest())

    asyncio.run(run())


@pytest.mark.parametrize("known_by", ["configmap", "file", "itself"])
def test_refused(log: Log, control_plane: ControlPlane, tmp_path: Path, known_by: str) -> None:
    """A log that is behind what is known is not sealed, whoever knows it: told, counted, and recorded once."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            file = tmp_path / "anchor.json"
            controller = world.controller(file=file)
            for action in ("key.generate", "key.activate"):
                log.write(action)
                await once(controller)
            assert json.loads(file.read_text(encoding="utf-8")) == (await world.anchor())["data"]
            log.query("DELETE FROM clm_audit.seals WHERE batch = 2")
            if known_by == "configmap":
                controller = world.controller()
            elif known_by == "file":
                await world.client.request("DELETE", paths.config_map(world.namespace, NAME))
                controller = world.controller(file=file)
            for _ in range(3):
                await once(controller)
            assert world.metric("clm_audit_seal_refused") == 1.0
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(1,)]
            refusals = f"SELECT outcome, object_id FROM {log.table} WHERE action = 'audit.seal-refuse'"
            assert log.query(refusals) == [("denied", SECURE)]

    asyncio.run(run())


def test_accepted(log: Log, control_plane: ControlPlane, tmp_path: Path) -> None:
    """When a person has given an anchor up, sealing goes on; in the file it is given up, too."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            file = tmp_path / "anchor.json"
            controller = world.controller(file=file)
            for action in ("key.generate", "key.activate"):
                log.write(action)
                await once(controller)
            given_up = str(log.newest())
            log.query("DELETE FROM clm_audit.seals WHERE batch = 2")
            await once(controller)
            assert world.metric("clm_audit_seal_refused") == 1.0
            data = {SECURE: str(log.newest()), **give_up({}, SECURE, [given_up], accepted=1)}
            await world.client.merge_patch(paths.config_map(world.namespace, NAME), {"data": data})
            for accepting in (controller, world.controller(file=file)):
                await once(accepting)
                assert world.metric("clm_audit_seal_refused") == 0.0
            assert (await world.anchor())["data"][SECURE] == str(log.newest()) != given_up
            assert log.verify(anchor=log.newest()).problems == []

    asyncio.run(run())


def test_older_config_map_is_not_kept(log: Log, control_plane: ControlPlane, tmp_path: Path) -> None:
    """Database and ConfigMap rolled back together: the file tells, also after a second restart."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            file = tmp_path / "anchor.json"
            controller = world.controller(file=file)
            first = await _rolled_back(world, controller)
            kept = file.read_text(encoding="utf-8")
            await world.put({SECURE: first})
            for _ in range(2):
                controller = world.controller(file=file)
                for _ in range(2):
                    await once(controller)
                assert world.metric("clm_audit_seal_refused") == 1.0
                assert file.read_text(encoding="utf-8") == kept
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(1,)]

    asyncio.run(run())


@pytest.mark.parametrize("running", [True, False])
def test_garbage_in_the_config_map(log: Log, control_plane: ControlPlane, running: bool) -> None:  # noqa: FBT001
    """Something else where the anchor stood: refused and recorded, and the loop goes on; a person can give it up."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            log.write("key.generate")
            await once(controller)
            await world.put({SECURE: "garbage", PUBLIC_KEY: "garbage"})
            log.write("key.activate")
            if not running:
                controller = world.controller()
            task = asyncio.create_task(controller.run(interval_s=0.05))
            deadline = asyncio.get_running_loop().time() + 20
            refusals = f"SELECT outcome, object_id FROM {log.table} WHERE action = 'audit.seal-refuse'"
            while not await asyncio.to_thread(log.query, refusals) or world.metric("clm_audit_seal_refused") != 1.0:
                assert asyncio.get_running_loop().time() < deadline, "it is not refused"
                assert not task.done()
                await asyncio.sleep(0.05)
            assert (await world.anchor())["data"][SECURE] == "garbage"
            newest = str(log.newest())
            await world.put({SECURE: newest, **give_up({}, SECURE, ["garbage"], accepted=1)})
            while (await world.anchor())["data"][SECURE] == newest or world.metric("clm_audit_seal_refused") != 0.0:
                assert asyncio.get_running_loop().time() < deadline, "it is not sealed again"
                await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])
            assert log.query(refusals) == [("denied", SECURE)]
            assert read_public_keys((await world.anchor())["data"][PUBLIC_KEY]) == [log.signer.spki]
            anchors = (await world.anchor())["data"]
            assert log.verify(anchor=log.newest(), keys=read_public_keys(anchors[PUBLIC_KEY])).problems == []

    asyncio.run(run())


def test_forged_seal_is_neither_continued_nor_anchored(log: Log, control_plane: ControlPlane) -> None:
    """A seal that the operator's user inserts, signed by a key of its own, stops the sealing and is told."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            log.write("key.generate")
            await once(controller)
            genuine = str(log.newest())
            log.write("key.activate")
            await _forge(log, FileSigner())
            for restarted in (False, True):
                if restarted:
                    controller = world.controller()
                await once(controller)
                assert world.metric("clm_audit_seal_refused") == 1.0
                assert (await world.anchor())["data"][SECURE] == genuine
            assert log.query("SELECT count(*) FROM clm_audit.seals") == [(2,)]
            reasons = log.query(f"SELECT DISTINCT reason FROM {log.table} WHERE action = 'audit.seal-refuse'")
            assert "batch 2, is not genuine" in reasons[0][0]

    asyncio.run(run())


def test_public_keys_come_back(log: Log, control_plane: ControlPlane, tmp_path: Path) -> None:
    """A ConfigMap that was removed comes back with every key: those of the file, and those that were made."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            file = tmp_path / "anchor.json"
            controller = world.controller(file=file)
            log.write("key.generate")
            await once(controller)
            stranger = FileSigner()
            kept = json.loads(file.read_text(encoding="utf-8"))
            kept[PUBLIC_KEY] += public_pem(stranger.spki)
            file.write_text(json.dumps(kept), encoding="utf-8")
            log.rotate()
            log.write("key.activate")
            await once(controller)
            former = log.former[0]
            wanted = {former.spki, stranger.spki, log.signer.spki}
            # Removed under a running controller, and before one starts while nothing is written.
            for restarted in (False, True):
                await world.client.request("DELETE", paths.config_map(world.namespace, NAME))
                if restarted:
                    controller = world.controller(file=file)
                else:
                    log.write("key.destroy")
                for _ in range(3):
                    await once(controller)
                keys = read_public_keys((await world.anchor())["data"][PUBLIC_KEY])
                assert set(keys) == wanted
                assert set(read_public_keys(json.loads(file.read_text(encoding="utf-8"))[PUBLIC_KEY])) == wanted
                assert log.verify(keys=keys, anchor=log.newest()).problems == []

    asyncio.run(run())


def test_not_anchored_without_its_key(log: Log, control_plane: ControlPlane) -> None:
    """While the public key of a seal cannot be read, the seal is not anchored: nobody could verify it."""

    async def run() -> None:
        async with outside(log, control_plane) as world:

            async def away() -> list[KnownKey]:
                raise DatabaseUnavailable("clm_secure_db is away")

            controller = world.controller()
            log.write("key.generate")
            await once(controller)
            first = str(log.newest())
            log.rotate()
            log.write("key.activate")
            controller._read_keys = away
            await once(controller)
            assert (await world.anchor())["data"][SECURE] == first != str(log.newest())
            controller._read_keys = log.known_keys
            await once(controller)
            assert (await world.anchor())["data"][SECURE] == str(log.newest())

    asyncio.run(run())


def test_anchored_seal_of_a_key_that_is_gone(log: Log, control_plane: ControlPlane) -> None:
    """When clm_secure_db was restored to a time before the key, what is anchored is continued all the same."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            log.write("key.generate")
            await once(world.controller())
            log.rotate()
            gone = log.former.pop()
            log.write("key.activate")
            await once(world.controller())
            assert world.metric("clm_audit_seal_refused") == 0.0
            keys = read_public_keys((await world.anchor())["data"][PUBLIC_KEY])
            assert keys == [gone.spki, log.signer.spki]
            report = log.verify(keys=keys, anchor=log.newest())
            assert (report.problems, report.batches) == ([], 2)

    asyncio.run(run())


def test_compromised_key(log: Log, control_plane: ControlPlane) -> None:
    """When a sealing key was called compromised, what it signed until then stays proven; what comes later does not."""

    async def run() -> None:
        async with outside(log, control_plane) as world:
            controller = world.controller()
            for action in ("key.generate", "key.activate"):
                log.write(action)
                await once(controller)
            lost = log.signer
            assert isinstance(lost, FileSigner)
            log.rotate()
            log.compromised.append(lost)
            log.write("key.compromise")
            await once(controller)
            log.write("key.destroy")
            await once(controller)
            data = (await world.anchor())["data"]
            (end,) = ends_of(data, SECURE).values()
            assert end is not None
            assert end.batch == 3
            keys = read_public_keys(data[PUBLIC_KEY])
            assert log.verify(anchor=log.newest(), keys=keys, ends=ends_of(data, SECURE)).problems == []
            await _forge(log, lost)
            await once(controller)
            assert world.metric("clm_audit_seal_refused") == 1.0
            found = log.verify(anchor=log.notes()[1], keys=keys, ends=ends_of(data, SECURE)).problems
            assert any("trusted up to batch 3 only" in problem.what for problem in found)
            assert all("compromised" not in problem.what for problem in log.verify(keys=keys).problems)

    asyncio.run(run())


async def _rolled_back(world: Outside, controller: SealingController) -> str:
    """Two batches are anchored, and the second is taken out of the database; gives the note of the first."""
    notes = []
    for action in ("key.generate", "key.activate"):
        world.log.write(action)
        await once(controller)
        notes.append(str(world.log.newest()))
    world.log.query("DELETE FROM clm_audit.seals WHERE batch = 2")
    return notes[0]


async def _forge(log: Log, forger: FileSigner) -> None:
    """Insert a seal that follows the newest one, with the operator's own rights."""
    last = Checkpoint.parse(log.newest().text)
    batch = last.batch + 1
    forged = replace(
        last, batch=batch, from_xid=last.to_xid, to_xid=last.to_xid + 1, previous=last.digest(),
        records=1, total=last.total + 1, root=leaf_hash(b""), sealed_at=last.sealed_at,
    )  # fmt: skip
    note = await sign_note(forged.text(), forger)
    with log.connect(log.operator) as connection:
        connection.execute(
            "INSERT INTO clm_audit.sealing_keys (id, spki) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [forger.key_id, forger.spki],
        )
        connection.execute(
            "INSERT INTO clm_audit.seals (batch, ledger_epoch, from_xid, to_xid, records, total, root, previous,"
            " sealed_at, key_id, note, leaves)"
            " VALUES (%s, 1, %s::text::xid8, %s::text::xid8, 1, %s, %s, %s, %s, %s, %s, %s)",
            [batch, forged.from_xid, forged.to_xid, forged.total, forged.root, forged.previous, forged.sealed_at,
             forger.key_id, str(note), forged.root],
        )  # fmt: skip
