"""The controller's sealing: what it writes outside the database, what it endures, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from clm.audit.anchor import give_up, read_public_keys
from clm.cluster import paths
from clm.cluster.anchors import NAME, PUBLIC_KEY
from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.storage.database import Database
from tests.integration.audit.outside import SECURE, once, outside

if TYPE_CHECKING:
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane
    from tests.integration.audit.conftest import Log


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
