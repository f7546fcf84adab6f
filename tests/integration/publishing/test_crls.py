"""CRLs as they are published: within a round of a revocation, whatever crashes, and whoever else publishes."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from clm.errors import CrlOvertaken, KeyNotActive
from clm.resources.authority import AuthoritySpec, CrlSpec
from tests.integration.issuance.workshop import ORGANIZATION, Crash, crash_at
from tests.integration.publishing.press import DAY, serial_of

if TYPE_CHECKING:
    import uuid

    from tests.integration.publishing.conftest import Printer
    from tests.integration.publishing.press import Press

SHARDED = AuthoritySpec(crl=CrlSpec(shards=4), ocsp=True)

_TELL = """
INSERT INTO clm_status.revocations
    (issuer_key_id, serial_number, organization_id, certificate_id, reason_code, revoked_at, not_after)
VALUES (%s, %s, %s, %s, %s, now(), now() + interval '1 day')
"""


def test_a_revocation_is_on_the_next_crl(printer: Printer) -> None:
    """It is listed, marked, and on the record; nothing is published where nothing is new."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        assert await press.round(rounds) == 1
        assert await press.serials() == set()
        first = await press.number()
        web, other = await press.leaf("web"), await press.leaf("other")
        assert await press.round(rounds) == 0
        await press.revoke(web)
        assert await press.round(rounds) == 1
        assert await press.serials() == {serial_of(web)}
        assert await press.number() > first
        assert await press.waiting() == 0
        await press.revoke(other, reason=4)
        assert await press.round(rounds) == 1
        assert await press.serials() == {serial_of(web), serial_of(other)}
        acts = await press.query("SELECT details FROM audit_log WHERE action = 'crl.publish' ORDER BY occurred_at")
        assert [record["details"]["entries"] for record in acts] == [0, 1, 2]
        assert acts[-1]["details"]["sha256"] == hashlib.sha256(await press.der()).hexdigest()
        assert acts[-1]["details"]["number"] == str(await press.number())

    printer(act)


def test_partitions_list_their_own(printer: Printer) -> None:
    """Only the partition of a serial is published anew, and the complete CRL, which lists all."""

    async def act(press: Press) -> None:
        await press.announce(SHARDED)
        rounds = press.rounds()
        assert await press.round(rounds) == 5
        leaves = [await press.leaf(f"web-{number}") for number in range(6)]
        for leaf in leaves:
            await press.revoke(leaf)
        serials = {serial_of(leaf) for leaf in leaves}
        assert await press.round(rounds) == 1 + len({serial % 4 for serial in serials})
        assert await press.serials() == serials
        for shard in range(4):
            assert await press.serials(4, shard) == {serial for serial in serials if serial % 4 == shard}

    printer(act)


@pytest.mark.parametrize("boundary", ["crl.built", "crl.signed", "crl.published", "crl.marked"])
def test_nothing_is_lost_in_a_crash(printer: Printer, boundary: str) -> None:
    """Killed after any step: the next controller has the revocation on a CRL, and numbers rise."""

    async def act(press: Press) -> None:
        await press.round(press.rounds())
        first = await press.number()
        web = await press.leaf("web")
        await press.revoke(web)
        with pytest.raises(Crash):
            await press.round(press.rounds(crash_at(boundary)))
        listed = boundary in {"crl.published", "crl.marked"}
        assert await press.serials() == ({serial_of(web)} if listed else set())
        assert await press.waiting() == (0 if boundary == "crl.marked" else 1)
        await press.round(press.rounds())
        assert await press.serials() == {serial_of(web)}
        assert await press.number() > first
        assert await press.waiting() == 0

    printer(act)


def test_two_controllers_lose_nothing_of_each_other(printer: Printer) -> None:
    """What one has published, the other lists too, though it had read the revocations before: also when both try."""

    async def act(press: Press) -> None:
        one, other = press.rounds(), press.rounds()
        await press.round(one)
        await press.round(other)
        leaves = [await press.leaf(f"web-{number}") for number in range(4)]
        for turn, leaf in zip((one, other, other, one), leaves, strict=True):
            await press.revoke(leaf)
            assert await press.round(turn) == 1
        assert await press.serials() == {serial_of(leaf) for leaf in leaves}
        press.ahead = DAY / 2
        await one.refresh()
        await other.refresh()
        (mine,), (theirs,) = await one.due(), await other.due()
        results = await asyncio.gather(one.publish(mine), other.publish(theirs), return_exceptions=True)
        assert sum(isinstance(result, CrlOvertaken) for result in results) <= 1
        assert sum(not isinstance(result, BaseException) for result in results) >= 1
        assert await press.serials() == {serial_of(leaf) for leaf in leaves}

    printer(act)


def test_is_replaced_before_half_of_its_life_is_over(printer: Printer) -> None:
    """And at once when another lifetime is asked for."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        await press.round(rounds)
        press.ahead = DAY * 0.39
        assert await press.round(rounds) == 0
        press.ahead = DAY * 0.49
        assert await press.round(rounds) == 1
        assert await press.round(rounds) == 0
        await press.announce(AuthoritySpec(crl=CrlSpec(lifetime=timedelta(hours=2))))
        assert await press.round(rounds) == 1
        crl = await press.crl()
        assert crl.next_update_utc is not None
        assert crl.next_update_utc - crl.last_update_utc == timedelta(hours=2)

    printer(act)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_expired_certificate_leaves_after_one_more_crl(printer: Printer, restarted: bool) -> None:  # noqa: FBT001
    """Listed once after its end, and then no more (RFC 5280 3.3); the same after a restart in between."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        web = await press.leaf("web")
        await press.revoke(web)
        await press.round(rounds)
        counts = []
        for days in (0.9, 1.4, 1.9, 2.4):
            press.ahead = DAY * days
            rounds = press.rounds() if restarted else rounds
            assert await press.round(rounds) == 1
            counts.append(len(await press.serials()))
        assert counts == [1, 1, 0, 0]

    printer(act)


def test_numbers_rise_after_the_databases_went_back(printer: Printer) -> None:
    """The core database is as it was days ago, or new: a CRL that clients have is never newer than the next."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        await press.round(rounds)
        press.ahead = DAY
        await press.round(rounds)
        last = await press.number()
        press.ahead = DAY + timedelta(minutes=1)
        await press.query("DELETE FROM clm_status.crls")
        assert await press.round(press.rounds()) == 1
        assert await press.number() > last

    printer(act)


def test_a_restored_crl_is_replaced_at_once(printer: Printer) -> None:
    """The core database alone went back to before a revocation was published: the next start publishes it again."""

    async def act(press: Press) -> None:
        await press.announce(SHARDED)
        rounds = press.rounds()
        web = await press.leaf("web")
        await press.round(rounds)
        backup = await press.query("SELECT * FROM clm_status.crls")
        press.ahead = timedelta(minutes=1)
        await press.revoke(web)
        await press.round(rounds)
        last = await press.number()
        for row in backup:
            await press.query(
                "UPDATE clm_status.crls SET crl_number = %s, this_update = %s, next_update = %s, entry_count = %s,"
                " crl = %s, sha256 = %s WHERE shards = %s AND shard = %s",
                *(row[name] for name in ("crl_number", "this_update", "next_update", "entry_count", "crl", "sha256")),
                row["shards"],
                row["shard"],
            )
        assert await press.serials() == set()
        restarted = press.rounds()
        assert await press.round(restarted) == 5
        assert await press.serials() == await press.serials(4, serial_of(web) % 4) == {serial_of(web)}
        assert await press.number() > last
        assert await press.round(restarted) == 0

    printer(act)


@pytest.mark.parametrize("authority", [AuthoritySpec(crl=CrlSpec(), ocsp=True), AuthoritySpec(crl=None, ocsp=True)])
def test_ocsp_is_told_again_what_a_restore_has_lost(printer: Printer, authority: AuthoritySpec) -> None:
    """Also of a CA without CRLs. What is known, and what has expired, is not announced again, nor at the next start."""

    async def announced_again(press: Press) -> set[uuid.UUID]:
        await press.rounds().refresh()
        return {row["id"] for row in await press.shop.query("SELECT id FROM clm_work.outbox")}

    async def act(press: Press) -> None:
        await press.announce(authority)
        lost, changed, known = [await press.leaf(name) for name in ("lost", "changed", "known")]
        await press.shop.query("DELETE FROM clm_work.outbox")
        for issued, reason in ((changed, 4), (known, 1)):
            await press.query(_TELL, press.root.key_id, issued.facts.serial_number, ORGANIZATION, issued.id, reason)
        for issued in (lost, changed, known):
            await press.revoke(issued)
        await press.round(press.rounds())
        assert await announced_again(press) == {lost.id, changed.id}
        await press.shop.query("DELETE FROM clm_work.outbox")
        await press.query(_TELL, press.root.key_id, lost.facts.serial_number, ORGANIZATION, lost.id, 1)
        assert await announced_again(press) == set()

    printer(act)


def test_a_core_database_that_goes_back_is_noticed_while_it_runs(printer: Printer) -> None:
    """As at a failover to a replica that lags: an older CRL, or none, is replaced, and OCSP is told again."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        web = await press.leaf("web")
        await press.revoke(web)
        await press.round(rounds)
        await press.shop.query("DELETE FROM clm_work.outbox")
        assert await press.round(rounds) == 0
        await press.query("UPDATE clm_status.crls SET crl_number = crl_number - 1")
        assert await press.round(rounds) == 1
        assert [row["id"] for row in await press.shop.query("SELECT id FROM clm_work.outbox")] == [web.id]
        await press.shop.query("DELETE FROM clm_work.outbox")
        await press.query("DELETE FROM clm_status.crls")
        assert await press.round(rounds) == 1
        assert [row["id"] for row in await press.shop.query("SELECT id FROM clm_work.outbox")] == [web.id]
        assert await press.round(rounds) == 0

    printer(act)


def test_what_ocsp_lacks_is_found_where_no_crl_tells(printer: Printer) -> None:
    """As at a failover to a replica that lags, of a CA without CRLs: by the counts, which are compared now and then.

    Also where the key of the CA has ended, for which a replica of the responder may still answer.
    """

    async def announced(press: Press) -> list[uuid.UUID]:
        return [row["id"] for row in await press.shop.query("DELETE FROM clm_work.outbox RETURNING id")]

    async def act(press: Press) -> None:
        await press.announce(AuthoritySpec(crl=None, ocsp=True))
        web, rounds = await press.leaf("web"), press.rounds()
        await press.revoke(web)
        await press.query(_TELL, press.root.key_id, web.facts.serial_number, ORGANIZATION, web.id, 1)
        await announced(press)
        await rounds.refresh()
        await rounds.announce_missing()
        assert await announced(press) == []
        lost = await press.leaf("lost")
        await press.revoke(lost)
        await announced(press)
        await rounds.refresh()
        assert await announced(press) == []
        await rounds.announce_missing()
        assert await announced(press) == [lost.id]
        end = "UPDATE encryption_keys SET state = 'deactivated' WHERE id = %s"
        await press.shop.query(end, press.root.key_id)
        await rounds.refresh()
        await rounds.announce_missing()
        assert await announced(press) == [lost.id]
        await press.rounds().refresh()
        assert await announced(press) == [lost.id]

    printer(act)


def test_what_expired_before_every_crl_is_not_read(printer: Printer) -> None:
    """A start reads what is listed, and what ended since the oldest CRL that stands: that is listed once more."""

    async def act(press: Press) -> None:
        web = await press.leaf("web")
        await press.revoke(web)
        await press.round(press.rounds())
        end = web.facts.not_after
        for since, expected in ((end, 1), (end + timedelta(seconds=1), 0), (None, 1)):
            assert len(await press.revoked.page(press.root.key_id, after=b"", since=since)) == expected
        press.ahead = end - press.now() + timedelta(minutes=1)
        await press.round(press.rounds())
        assert await press.serials() == {serial_of(web)}
        press.ahead += DAY
        await press.round(press.rounds())
        assert await press.serials() == set()

    printer(act)


def test_numbers_rise_when_the_clock_goes_back(printer: Printer) -> None:
    """Also within one second, by one."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        await press.round(rounds)
        last = await press.number()
        press.ahead = -DAY
        await press.revoke(await press.leaf("web"))
        await press.round(rounds)
        assert await press.number() == last + 1

    printer(act)


def test_nothing_is_signed_with_a_key_that_is_suspended(printer: Printer) -> None:
    """The revocation waits, and is published when the key works again."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        await press.round(rounds)
        web = await press.leaf("web")
        await press.revoke(web)
        suspend = "UPDATE encryption_keys SET state = %s, state_reason = 'drill' WHERE id = %s"
        await press.shop.query(suspend, "suspended", press.root.key_id)
        with pytest.raises(KeyNotActive, match="suspended: drill"):
            await press.round(rounds)
        assert await press.waiting() == 1
        await press.shop.query(suspend, "active", press.root.key_id)
        await press.round(rounds)
        assert await press.serials() == {serial_of(web)}

    printer(act)


def test_a_reason_that_changes_while_it_is_published_is_published_again(printer: Printer) -> None:
    """What was read is marked, and nothing that came after."""

    async def act(press: Press) -> None:
        web = await press.leaf("web")
        await press.revoke(web, reason=4)
        (row,) = await press.revoked.unpublished(press.root.key_id, after=web.id.__class__(int=0))
        await press.revoked.mark([row._replace(reason_code=1)], published_at=press.now())
        assert await press.waiting() == 1
        await press.revoked.mark([row], published_at=press.now())
        assert await press.waiting() == 0

    printer(act)


def test_former_partitions_go_on_while_certificates_name_them(printer: Printer) -> None:
    """After a change of the number of partitions both schemes list a revocation, until the last certificate expired."""

    async def act(press: Press) -> None:
        await press.announce(SHARDED)
        rounds = press.rounds()
        web = await press.leaf("web")
        await press.round(rounds)
        await press.announce(dataclasses.replace(SHARDED, crl=CrlSpec(shards=2)))
        assert await press.round(rounds) == 2
        await press.revoke(web)
        assert await press.round(rounds) == 3
        serial = serial_of(web)
        assert await press.serials(4, serial % 4) == await press.serials(2, serial % 2) == {serial}
        await rounds.settle_schemes()
        assert await _schemes(press) == {1: None, 2: None, 4: None}
        press.ahead = timedelta(minutes=11)
        await rounds.settle_schemes()
        assert await _schemes(press) == {1: None, 2: None, 4: web.facts.not_after}

    printer(act)


def test_crls_that_are_turned_off_end_when_nobody_needs_them(printer: Printer) -> None:
    """They are published until then; asked for again, they stay."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        web = await press.leaf("web")
        await press.round(rounds)
        await press.announce(AuthoritySpec(ocsp=True))
        press.ahead = timedelta(hours=11.9)
        assert await press.round(rounds) == 1
        await rounds.refresh()
        await rounds.settle_schemes()
        assert await _schemes(press) == {1: web.facts.not_after}
        await press.announce(AuthoritySpec(crl=CrlSpec()))
        await rounds.refresh()
        await rounds.settle_schemes()
        assert await _schemes(press) == {1: None}
        await press.store.need_until(press.root.key_id, 1, press.now() - DAY)
        await press.announce(AuthoritySpec(ocsp=True))
        await rounds.refresh()
        await rounds.settle_schemes()
        assert await _schemes(press) == {}

    printer(act)


async def _schemes(press: Press) -> dict[int, object]:
    """Numbers of partitions of which there are CRLs, and until when these are needed."""
    return {state.shards: state.needed_until for state in await press.store.states()}
