"""What is recorded: by which cluster, in which order, and with which acts on the record."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.integration.issuance.workshop import LEAF

if TYPE_CHECKING:
    from tests.integration.issuance.conftest import Opener

_NIL = uuid.UUID(int=0)


def test_clusters_that_share_a_database_leave_each_other_alone(workshop: Opener) -> None:
    """What one cluster's operator left unfinished is not listed, claimed or made due by another's."""

    async def act() -> None:
        async with workshop() as ours, workshop() as theirs:
            issuer = await ours.root()
            pending = await ours.leave_pending(issuer, ours.owner("web"))
            assert await theirs.history.pending(older_than_s=0, after=_NIL, limit=10) == []
            assert [item.id for item in await ours.history.pending(older_than_s=0, after=_NIL, limit=10)] == [pending]
            await theirs.outbox.release()
            due = "SELECT count(*) AS due FROM clm_work.outbox WHERE next_attempt_at <= now()"
            assert (await ours.query(due))[0]["due"] == 0
            await ours.outbox.release()
            assert await theirs.outbox.claim(limit=10) == []
            assert [item.id for item in await ours.outbox.claim(limit=10)] == [issuer.certificate_id]

    asyncio.run(act())


def test_certificate_that_another_ended_is_not_taken_for_a_live_one(workshop: Opener) -> None:
    """Who signs second is told that the standing certificate is revoked, and its act is recorded as a signing."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            request = await shop.leave_pending(issuer, shop.owner("web"))
            intent = await shop.history.intent(request)
            assert intent is not None
            first = await shop.finish(intent, unwanted="the object was deleted")
            second = await shop.finish(intent)
            assert not first.active
            assert not second.active
            assert second.certificate == first.certificate
            acts = [action for action, _ in await shop.audited(request)]
            signed = ["certificate.sign"] * 3
            assert sorted(acts) == ["certificate.intend", "certificate.revoke", *signed, "certificate.supersede"]

    asyncio.run(act())


def test_signature_made_again_is_on_record(workshop: Opener) -> None:
    """Killed between signature and record: the repeated signing is audited with its reason, an ordinary one is not."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            ordinary = await shop.issue(issuer, shop.owner("ordinary"))
            assert ordinary.active
            assert [action for action, _ in await shop.audited(ordinary.id)] == [
                "certificate.intend",
                "certificate.issue",
            ]
            request = await shop.leave_pending(issuer, shop.owner("cut"), boundary="issue.signed")
            intent = await shop.history.intent(request)
            assert intent is not None
            assert (await shop.finish(intent)).active
            acts = dict(await shop.audited(request))
            assert set(acts) == {"certificate.intend", "certificate.sign", "certificate.issue"}
            assert "may have been lost" in str(acts["certificate.sign"])

    asyncio.run(act())


def test_object_created_again_after_expiry_ends_the_old_certificate(workshop: Opener) -> None:
    """A new object's first certificate supersedes what its namesake left, although that had expired unnoticed."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            old = await shop.issue(issuer, shop.owner("web"))
            past = datetime.now(UTC) - timedelta(days=2)
            await shop.query(
                "UPDATE certificates SET not_before = %s, not_after = %s WHERE id = %s",
                past,
                past + timedelta(days=1),
                old.id,
            )
            again = shop.owner("web")
            assert await shop.history.newest(again) is None
            new = await shop.issue(issuer, again)
            rows = await shop.query("SELECT id, state, superseded_by FROM certificates WHERE name = 'web'")
            assert {row["id"]: (row["state"], row["superseded_by"]) for row in rows} == {
                old.id: ("superseded", new.id),
                new.id: ("active", None),
            }

    asyncio.run(act())


def test_unwanted_certificate_ends_nothing(workshop: Opener) -> None:
    """What is recorded as revoked at once does not end the certificate that stands for the object."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            standing = await shop.issue(issuer, shop.owner("web"))
            request = await shop.leave_pending(issuer, shop.owner("web"))
            intent = await shop.history.intent(request)
            assert intent is not None
            await shop.finish(intent, unwanted="the object was deleted")
            rows = await shop.query("SELECT id, state FROM certificates WHERE name = 'web'")
            assert {row["id"]: row["state"] for row in rows} == {standing.id: "active", request: "revoked"}

    asyncio.run(act())


def test_what_was_written_down_says_what_hash_is_signed(workshop: Opener) -> None:
    """An intent is finished as it was decided: without its spec, which may ask for another signature by then."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            asked = LEAF | {"signatureAlgorithm": "ECDSAWithSHA512"}
            request = await shop.leave_pending(issuer, shop.owner("web"), asked)
            intent = await shop.history.intent(request)
            assert intent is not None
            issued = await shop.finish(intent)
            certificate = x509.load_der_x509_certificate(issued.certificate)
            assert isinstance(certificate.signature_hash_algorithm, hashes.SHA512)
            certificate.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.chain[0]))
            (row,) = await shop.query("SELECT signature_algorithm FROM certificate_requests WHERE id = %s", request)
            assert row["signature_algorithm"] == "ECDSAWithSHA512"

    asyncio.run(act())
