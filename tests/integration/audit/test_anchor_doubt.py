"""Anchors only grow: rolled back, replaced by garbage, with a forged seal, or of keys that were lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from clm.audit.anchor import ends_of, give_up, read_public_keys
from clm.audit.checkpoint import Checkpoint, public_pem, sign_note
from clm.audit.tree import leaf_hash
from clm.cluster import paths
from clm.cluster.anchors import NAME, PUBLIC_KEY
from clm.errors import DatabaseUnavailable
from tests.integration.audit.conftest import FileSigner, Log
from tests.integration.audit.outside import SECURE, Outside, once, outside

if TYPE_CHECKING:
    from pathlib import Path

    from clm.controllers.sealing import SealingController
    from clm.dev.controlplane import ControlPlane
    from clm.resources.seals import KnownKey


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
