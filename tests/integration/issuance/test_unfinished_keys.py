"""A key that was begun and never finished is finished, or removed with its object; nobody waits for it in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pkcs11 import Attribute

from clm.errors import HsmUnavailable, KeyMissing
from clm.hsm import keys as token_keys

if TYPE_CHECKING:
    from clm.resources.records import HsmKeyRow
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop


async def _cut(shop: Workshop, *, boundary: str = "hsm.key-generated") -> HsmKeyRow:
    row = shop.ca_key(shop.owner("ca"))
    await shop.cut(row, boundary=boundary)
    return row


async def _objects(shop: Workshop, row: HsmKeyRow) -> int:
    return await shop.token.run(lambda context: len(context.find({Attribute.ID: row.id.bytes})))


@pytest.mark.parametrize("boundary", ["key.row-written", "hsm.key-generated", "key.read-back"])
def test_unfinished_key_is_discarded(workshop: Opener, boundary: str) -> None:
    """Whatever the interrupted generation left goes from the token; the row stays, destroyed, the act on record."""

    async def act() -> None:
        async with workshop() as shop:
            row = await _cut(shop, boundary=boundary)
            assert await shop.keys.unfinished(cluster_id=shop.cluster_id, older_than_s=3600) == []
            assert [it.id for it in await shop.keys.unfinished(cluster_id=shop.cluster_id, older_than_s=0)] == [row.id]
            await shop.hsm_keys.discard(row, why="its object was deleted")
            await shop.hsm_keys.discard(row, why="once more changes nothing")
            assert await _objects(shop, row) == 0
            found = await shop.query("SELECT state, destroyed_at FROM encryption_keys WHERE id = %s", row.id)
            assert found[0]["state"] == "destroyed"
            assert found[0]["destroyed_at"] is not None
            acts = [act for act in await shop.audited(row.id) if act[0] == "key.destroy"]
            assert acts == [("key.destroy", "its object was deleted")]
            assert await shop.keys.unfinished(cluster_id=shop.cluster_id, older_than_s=0) == []

    asyncio.run(act())


def test_finished_key_is_not_discarded(workshop: Opener) -> None:
    """A key that became active meanwhile stays: only an unfinished one may be removed."""

    async def act() -> None:
        async with workshop() as shop:
            row = shop.ca_key(shop.owner("ca"))
            made = await shop.hsm_keys.ensure(row)
            await shop.hsm_keys.discard(row, why="a mistake")
            found = await token_keys.find_signing_key(shop.token, row.id)
            assert found is not None
            assert found.spki == made.spki
            assert (await shop.hsm_keys.ensure(row)).state == "active"

    asyncio.run(act())


def test_discarded_key_is_not_made_under_its_id_again(workshop: Opener) -> None:
    """A restored object whose unfinished key was discarded gets a new version, with an id of its own."""

    async def act() -> None:
        async with workshop() as shop:
            row = await _cut(shop)
            assert row.owner is not None
            await shop.hsm_keys.discard(row, why="its object was deleted")
            with pytest.raises(KeyMissing, match="destroyed"):
                await shop.hsm_keys.ensure(row)
            assert await shop.keys.owned_by(row.owner) is None
            assert await shop.keys.next_version(row.owner) == 2

    asyncio.run(act())


def test_making_keys_leaves_connections_and_callers_free(workshop: Opener) -> None:
    """Of many keys that are asked for at once few wait, the others are told to come again; all are made in the end."""

    async def act() -> None:
        async with workshop() as shop:
            rows = [shop.ca_key(shop.owner(f"ca-{number}")) for number in range(12)]
            turned_away = 0

            async def insist(row: HsmKeyRow) -> None:
                nonlocal turned_away
                while True:
                    try:
                        await shop.hsm_keys.ensure(row)
                    except HsmUnavailable:
                        turned_away += 1
                        await asyncio.sleep(0.01)
                    else:
                        return

            makers = [asyncio.create_task(insist(row)) for row in rows]
            locked = "SELECT count(*) AS held FROM pg_stat_activity WHERE query ~ 'FROM encryption_keys WHERE id' AND"
            most = 0
            while not all(task.done() for task in makers):
                held = await shop.query(f"{locked} datname = current_database() AND state LIKE 'idle in transaction%%'")
                most = max(most, held[0]["held"])
            await asyncio.gather(*makers)
            assert turned_away >= 8
            assert most <= 1
            made = [await shop.keys.get(row.id) for row in rows]
            assert {found.state for found in made if found is not None} == {"active"}

    asyncio.run(act())
