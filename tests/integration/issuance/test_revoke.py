"""Revocation over the real databases: recorded first, once, and announced whatever happens in between."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict

from clm.errors import KeyNotActive
from clm.resources.revocation import Revocation
from tests.integration.issuance.revoking import Desk, open_desk
from tests.integration.issuance.workshop import Crash, Workshop, crash_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from clm.dev.postgres import PostgresCluster
    from tests.fix_postgres import DatabasePair
    from tests.integration.issuance.conftest import Opener


@pytest.fixture
def run(
    workshop: Opener, databases: DatabasePair, postgres_cluster: PostgresCluster
) -> Callable[[Callable[[Workshop, Desk], Awaitable[None]]], None]:
    """Run an act in a workshop with a desk."""
    core_dsn = postgres_cluster.superuser_dsn(str(conninfo_to_dict(databases.core)["dbname"]))

    def runner(act: Callable[[Workshop, Desk], Awaitable[None]]) -> None:
        async def opened() -> None:
            async with workshop() as shop, open_desk(shop, core_dsn) as desk:
                await act(shop, desk)

        asyncio.run(opened())

    return runner


async def _states(shop: Workshop, *ids: uuid.UUID) -> list[str]:
    rows = await shop.query("SELECT id, state FROM certificates WHERE id = ANY(%s)", list(ids))
    states = {row["id"]: row["state"] for row in rows}
    return [states[certificate_id] for certificate_id in ids]


async def _revocations(shop: Workshop) -> dict[Any, dict[str, Any]]:
    rows = await shop.query("SELECT * FROM certificate_revocations")
    return {row["certificate_id"]: row for row in rows}


def test_every_unexpired_certificate_of_an_object_is_revoked(run: Callable[..., None]) -> None:
    """Superseded ones too, and those of an earlier object of that name; another object's stays."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root, owner = await shop.root(), shop.owner("web")
        former = await shop.issue(root, shop.owner("web"))
        first = await shop.issue(root, owner)
        second = await shop.issue(root, owner, revision=2)
        other = await shop.issue(root, shop.owner("other"))
        assert await _states(shop, former.id, first.id, second.id) == ["superseded", "superseded", "active"]

        recorded = await desk.revoke(owner, "cessationOfOperation")

        ours = (former.id, first.id, second.id)
        assert {one.certificate_id for one in recorded} == set(ours)
        assert await _states(shop, *ours, other.id) == ["revoked", "revoked", "revoked", "active"]
        assert await desk.told() == dict.fromkeys(ours, (5, "revoked"))
        assert {row["id"] for row in await shop.query("SELECT id FROM clm_work.outbox")}.isdisjoint(ours)
        for one in ours:
            assert ("certificate.revoke", "cessationOfOperation") in await shop.audited(one)
        assert await desk.revoke(owner, "superseded") == []

    run(act)


@pytest.mark.parametrize("boundary", ["revoke.recorded", "revoke.announced"])
def test_crash_is_made_good_by_the_outbox(run: Callable[..., None], boundary: str) -> None:
    """What was recorded and not announced is in the outbox; announcing it again changes nothing."""

    async def act(shop: Workshop, desk: Desk) -> None:
        owner = shop.owner("web")
        issued = await shop.issue(await shop.root(), owner)
        with pytest.raises(Crash):
            await desk.revoke(owner, "keyCompromise", crash_at(boundary))
        assert await _states(shop, issued.id) == ["revoked"]
        assert issued.id in {row["id"] for row in await shop.query("SELECT id FROM clm_work.outbox")}

        await desk.revoker().tell_of(issued.id)
        before = await desk.core_rows()
        await desk.revoker().tell_of(issued.id)

        assert await desk.told() == {issued.id: (1, "revoked")}
        assert await desk.core_rows() == before
        assert [action for action, _ in await shop.audited(issued.id)].count("certificate.revoke") == 1

    run(act)


def test_the_first_reason_stands_but_for_a_compromise(run: Callable[..., None]) -> None:
    """The time never changes; a compromise replaces what was said before, is published again, and is the last word."""

    async def act(shop: Workshop, desk: Desk) -> None:
        owner = shop.owner("web")
        issued = await shop.issue(await shop.root(), owner)
        [first] = await desk.revoke(owner, "superseded")
        await shop.query("UPDATE certificate_revocations SET published_at = now()")

        assert await desk.revoke(owner, "privilegeWithdrawn") == []
        [worse] = await desk.revoke(owner, "keyCompromise")
        assert await desk.revoke(owner, "unspecified") == []

        row = (await _revocations(shop))[issued.id]
        assert (row["reason_code"], row["published_at"], row["revoked_at"]) == (1, None, first.revoked_at)
        assert worse.revoked_at == first.revoked_at
        assert await desk.told() == {issued.id: (1, "revoked")}
        await desk.revoker().tell([first])  # a process that was paused comes late
        assert await desk.told() == {issued.id: (1, "revoked")}

    run(act)


def test_compromise_takes_the_key_and_all_its_certificates(run: Callable[..., None]) -> None:
    """Every unexpired certificate of the key is revoked, the key is compromised, and nothing is issued for it again."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root, owner = await shop.root(), shop.owner("web")
        first = await shop.issue(root, owner)
        [key] = await shop.query("SELECT private_key_id AS id FROM certificates WHERE id = %s", first.id)
        second = await shop.issue(root, owner, revision=2, reuse_key_id=key["id"])
        [chosen] = [one for one in await desk.store.of_object(owner) if one.id == first.id]

        revocation = Revocation(reason="keyCompromise", comment="found on a public host")
        recorded = await desk.revoker().record([chosen], revocation)

        assert {one.certificate_id for one in recorded} == {first.id, second.id}
        [row] = await shop.query("SELECT state, compromised_at FROM private_keys WHERE id = %s", key["id"])
        assert (row["state"], row["compromised_at"] is not None) == ("compromised", True)
        assert [action for action, _ in await shop.audited(key["id"])] == ["key.compromise"]
        with pytest.raises(KeyNotActive):
            await shop.issue(root, owner, revision=3, reuse_key_id=key["id"])

    run(act)


def test_revoked_key_is_not_used_again(run: Callable[..., None]) -> None:
    """Whatever the reason: rotationPolicy Never does not keep the key of a revoked certificate."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root, owner = await shop.root(), shop.owner("web")
        await shop.issue(root, owner)
        await desk.revoke(owner, "superseded")
        newest = await shop.history.newest(owner)
        assert newest is not None
        assert (newest.certificate_state, newest.key_algorithm) == ("revoked", None)

    run(act)


def test_self_signed_certificate_is_not_revoked(run: Callable[..., None]) -> None:
    """Nobody asks a trust anchor whether it is revoked."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root = await shop.root()
        assert root.certificate_id is not None
        [own] = await desk.store.of_ids([root.certificate_id])
        assert own.is_self_signed
        assert await desk.revoker().record([own], Revocation(reason="cACompromise")) == []
        assert await _revocations(shop) == {}

    run(act)


def test_nothing_is_issued_under_a_revoked_certificate(run: Callable[..., None]) -> None:
    """The statement that writes an intent asks, not only who decides on it; a compromised CA's key is so itself."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root, owner = await shop.root(), shop.owner("issuing")
        issuing = await shop.intermediate(root, owner)
        await shop.issue(issuing, shop.owner("web"))
        await desk.revoke(owner, "cACompromise")
        with pytest.raises(KeyNotActive):
            await shop.issue(issuing, shop.owner("late"))
        [key] = await shop.query("SELECT state FROM encryption_keys WHERE id = %s", issuing.key_id)
        assert key["state"] == "compromised"

        again = await shop.intermediate(root, shop.owner("again"))
        await desk.revoke(shop.owner("again"), "cessationOfOperation")
        with pytest.raises(KeyNotActive):
            await shop.issue(again, shop.owner("late"))
        [key] = await shop.query("SELECT state FROM encryption_keys WHERE id = %s", again.key_id)
        assert key["state"] == "active"

    run(act)


def test_unwanted_certificate_is_revoked_for_everybody(run: Callable[..., None]) -> None:
    """What is signed for nobody is revoked from the start, on the record, and reaches OCSP by the outbox."""

    async def act(shop: Workshop, desk: Desk) -> None:
        pending = await shop.leave_pending(await shop.root(), shop.owner("gone"))
        intent = await shop.history.intent(pending)
        assert intent is not None
        await shop.finish(intent, unwanted="the object was deleted before it was signed")

        row = (await _revocations(shop))[pending]
        assert row["reason_code"] == 4
        assert ("certificate.revoke", "superseded") in await shop.audited(pending)
        await desk.revoker().tell_of(pending)
        assert await desk.told() == {pending: (4, "revoked")}

    run(act)


def test_comparison_finds_what_differs_and_what_it_mends(run: Callable[..., None]) -> None:
    """Not announced, or with another reason: announced again. Announced and not recorded: told, and left alone."""

    async def act(shop: Workshop, desk: Desk) -> None:
        root = await shop.root()
        owners = [shop.owner(name) for name in ("lost", "other", "fine", "unknown")]
        lost, other, fine, unknown = [await shop.issue(root, owner) for owner in owners]
        await shop.outbox.finish(unknown.id)
        for owner in owners[:3]:
            await desk.revoke(owner, "superseded")
        await desk.core_query("DELETE FROM clm_status.revocations WHERE certificate_id = %s", lost.id)
        await desk.core_query("UPDATE clm_status.revocations SET reason_code = 5 WHERE certificate_id = %s", other.id)
        await desk.core_query(
            "INSERT INTO clm_status.revocations (issuer_key_id, serial_number, organization_id, certificate_id,"
            " reason_code, revoked_at, not_after) VALUES (%s, %s, %s, %s, 0, now(), now() + interval '1 day')",
            root.key_id,
            unknown.facts.serial_number,
            uuid.uuid4(),
            unknown.id,
        )
        await shop.query("UPDATE certificates SET state = 'superseded' WHERE id = %s", fine.id)

        found = await desk.compare()

        assert sorted(((one.kind, one.republish) for one in found), key=str) == sorted(
            [
                ("revocation-half", None),
                ("revocation-missing", lost.id),
                ("revocation-missing", other.id),
                ("revocation-unknown", None),
            ],
            key=str,
        )
        for one in found:
            if one.republish is not None:
                await desk.revoker().tell_of(one.republish)
        assert sorted(one.kind for one in await desk.compare()) == ["revocation-half", "revocation-unknown"]

    run(act)
