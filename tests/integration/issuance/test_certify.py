"""What was recorded by somebody else first is not published blindly: the object is looked at again."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from clm.lifecycle.admission import Admitted
from clm.lifecycle.authorities import Authorities
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.ca_keys import CaKeys
from clm.lifecycle.certify import Certifier
from clm.lifecycle.holds import Hold
from clm.lifecycle.publications import Publications
from clm.lifecycle.publish import Publication, secret_content
from clm.lifecycle.quotas import QuotaLine
from clm.lifecycle.storms import StormBreaker, StormLimits
from clm.lifecycle.view import PolicyView
from clm.pki.keys import spki_der
from clm.resources.certificate import parse_certificate
from clm.storage.secure.authorities import AuthorityStore
from clm.storage.secure.renewals import RenewalStore
from tests.integration.issuance.workshop import LEAF, ORGANIZATION, Crash, crash_at
from tests.unit.pki.requests import KEY, csr, der_of, spec_of

if TYPE_CHECKING:
    from clm.lifecycle.boundaries import Boundary
    from clm.pki.profile import Issuer
    from clm.resources.certificate import CertificateSpec
    from clm.resources.records import Owner
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop


async def _none(*_: object) -> None:
    """Object to nothing."""


async def _certify(
    shop: Workshop,
    issuer: Issuer,
    owner: Owner,
    boundary: Boundary = no_boundary,
    *,
    now: datetime | None = None,
    keep_key: bool = False,
    status: dict[str, Any] | None = None,
    name: str = "web.example.com",
    spec: CertificateSpec | None = None,
) -> Any:
    certifier = Certifier(
        organization_id=ORGANIZATION,
        history=shop.history,
        issuance=shop.issuance(boundary),
        ca_keys=CaKeys(organization_id=ORGANIZATION, hsm_keys=shop.hsm_keys, keys=shop.keys),
        publications=Publications(
            organization_id=ORGANIZATION,
            authorities=Authorities(token=shop.token, store=AuthorityStore(shop.database)),
            history=shop.history,
            requests=shop.requests,
            reschedule=RenewalStore(shop.database, cluster_id=shop.cluster_id).reschedule,
        ),
        quotas=QuotaLine(),
        storms=StormBreaker(shop.history, StormLimits(3, timedelta(hours=1), timedelta(hours=4))),
        objection=_none,
    )
    policy = PolicyView(name="p", uid=str(uuid.uuid4()), generation=1, spec=None, problem=None)
    manifest = LEAF | {"dnsNames": [name]} | ({"privateKey": {"rotationPolicy": "Never"}} if keep_key else {})
    wanted = spec or parse_certificate(manifest)
    admitted = Admitted(spec=wanted, policy=policy, issuer=issuer, issuer_name="shop/root")
    body = {"metadata": {"name": owner.name, "uid": str(owner.resource_uid), "generation": 1}, "status": status or {}}
    return await certifier.certify(owner, body, admitted, now=now or datetime.now(UTC))


def _meanwhile(workshop: Opener, owner: Owner, at: str) -> Boundary:
    """Have another operator end the object's pending intent, as unwanted, while this one stands at a boundary."""

    async def end_it() -> None:
        async with workshop() as other:
            rows = await other.query(
                "SELECT id FROM certificate_requests WHERE resource_uid = %s AND state = 'pending'", owner.resource_uid
            )
            for row in rows:
                intent = await other.history.intent(row["id"])
                assert intent is not None
                await other.finish(intent, unwanted="the object was deleted")

    def boundary(name: str, /) -> None:
        if name == at:
            thread = threading.Thread(target=lambda: asyncio.run(end_it()))
            thread.start()
            thread.join()

    return boundary


@pytest.mark.parametrize("left_pending", [False, True], ids=["issued", "finished"])
def test_certificate_that_another_recorded_as_revoked(workshop: Opener, *, left_pending: bool) -> None:
    """Signed here, recorded there as unwanted: nothing is published, and the next look issues the next revision."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            owner = shop.owner("web")
            if left_pending:
                await shop.leave_pending(issuer, owner)
            assert await _certify(shop, issuer, owner, _meanwhile(workshop, owner, "issue.signed")) is None
            states = await shop.query("SELECT revision, state FROM certificates WHERE name = 'web'")
            assert [(row["revision"], row["state"]) for row in states] == [(1, "revoked")]
            following = await _certify(shop, issuer, owner)
            assert isinstance(following, Publication)
            assert following.revision == 2

    asyncio.run(act())


@pytest.mark.parametrize("known", [True, False], ids=["before-the-look", "after-it"])
def test_a_key_that_was_destroyed_is_not_used_again(workshop: Opener, *, known: bool) -> None:
    """A rotationPolicy of Never, and retention has taken the key of what ended long ago: there is a new one."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, owner = await shop.root(), shop.owner("web")
            await shop.issue(issuer, owner)
            newest = await shop.history.newest(owner)
            assert newest is not None
            await shop.query(
                "UPDATE private_keys SET state = 'destroyed', destroyed_at = now(), wrapped_dek = NULL,"
                " ciphertext = NULL WHERE id = %s RETURNING id",
                newest.private_key_id,
            )
            if known:
                renewed = await _certify(shop, issuer, owner, now=newest.not_after + timedelta(days=100), keep_key=True)
                assert isinstance(renewed, Publication)
            else:
                await shop.issue(issuer, owner, revision=2, reuse_key_id=newest.private_key_id)
            keys = await shop.query("SELECT private_key_id AS id FROM certificates WHERE name = 'web'")
            assert len({row["id"] for row in keys}) == 2

    asyncio.run(act())


def test_an_adoption_is_recorded_once(workshop: Opener) -> None:
    """Not at each attempt to publish, nor at each later look; and again when yet another object takes it."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            first = await _certify(shop, issuer, shop.owner("web"))
            known = {"certificateId": str(first.id)}
            again, third, fourth = shop.owner("web"), shop.owner("web"), shop.owner("web")
            for owner, status in ((again, {}), (again, {}), (again, known), (third, known), (fourth, {})):
                adopted = await _certify(shop, issuer, owner, status=status)
                assert adopted.id == first.id
            found = await shop.query(
                "SELECT details->>'uid' AS uid FROM secure_audit_log WHERE action = 'certificate.adopt'"
                " AND object_id = %s ORDER BY occurred_at",
                str(first.id),
            )
            assert [row["uid"] for row in found] == [str(again.resource_uid), str(fourth.resource_uid)]

    asyncio.run(act())


def test_what_stands_is_published_while_its_renewal_fails(workshop: Opener) -> None:
    """The next revision was begun and cannot be signed: until the next attempt a lost Secret is still made good."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, owner, now = await shop.root(), shop.owner("web"), datetime.now(UTC)
            first = await _certify(shop, issuer, owner)
            with pytest.raises(Crash):
                await shop.issue(issuer, owner, revision=2, boundary=crash_at("issue.intent-written"))
            failed = {"type": "Issuing", "status": "False", "reason": "Failed", "observedGeneration": 1}
            status = {
                "conditions": [failed],
                "lastFailureTime": now.isoformat(),
                "nextAttemptTime": (now + timedelta(hours=1)).isoformat(),
            }
            kept = await _certify(shop, issuer, owner, status=status)
            assert isinstance(kept, Publication)
            assert (kept.id, kept.hold and kept.hold.kind) == (first.id, "Failed")
            tried = await _certify(shop, issuer, owner, status=status, now=now + timedelta(hours=1))
            assert isinstance(tried, Publication)
            assert (tried.revision, tried.hold) == (2, None)

    asyncio.run(act())


def test_storms_are_counted_in_the_record(workshop: Opener) -> None:
    """By the object and by its name, for one cause, and only where what is to be replaced is young."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, owner, now = await shop.root(), shop.owner("web"), datetime.now(UTC)
            for number in range(4):
                outcome = await _certify(shop, issuer, owner, name=f"{number}.example.com", now=now)
                assert isinstance(outcome, Publication)
            again = shop.owner("web")
            for whose in (owner, again):
                held = await _certify(shop, issuer, whose, name="more.example.com", now=now)
                assert isinstance(held, Hold)
                assert (held.kind, held.cause) == ("IssuanceSuspended", "SpecChanged")
            # It is what was issued last, so nothing is to be issued; and at last the pause is over.
            kept = await _certify(shop, issuer, owner, name="3.example.com", now=now)
            assert isinstance(kept, Publication)
            later = now + timedelta(hours=4, seconds=1)
            assert isinstance(await _certify(shop, issuer, owner, name="more.example.com", now=later), Publication)

    asyncio.run(act())


_MANY = """
INSERT INTO certificate_requests (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation,
    spec_hash, policy_name, issuer_key_id, serial_number, tbs, signature_algorithm, not_before, not_after, reason)
SELECT gen_random_uuid(), r.organization_id, r.cluster_id, r.resource_uid, r.namespace, r.name, 100 + number,
    r.generation, r.spec_hash, r.policy_name, r.issuer_key_id, uuid_send(gen_random_uuid()), 'x', 'x',
    r.not_before + number * interval '1 millisecond', r.not_after, 'renewal'
FROM certificate_requests r, generate_series(1, %s) AS number
WHERE r.name = 'web' AND r.revision = 1
"""


def test_renewals_by_time_crowd_no_storm_out(workshop: Opener) -> None:
    """However many of them there were: only the others are counted, and they are found by an index."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, owner, now = await shop.root(), shop.owner("web"), datetime.now(UTC)
            for number in range(4):
                assert isinstance(
                    await _certify(shop, issuer, owner, name=f"{number}.example.com", now=now), Publication
                )
            await shop.query(_MANY + "RETURNING id", 1000)
            since = now - timedelta(hours=5)
            recent = await shop.history.recent(owner.namespace, owner.name, since=since)
            assert sorted(it.reason for it in recent) == ["initial", "spec-changed", "spec-changed", "spec-changed"]
            assert await shop.history.recent(owner.namespace, owner.name, since=now + timedelta(hours=1)) == []
            assert await shop.history.recent(owner.namespace, "other", since=since) == []

    asyncio.run(act())


@pytest.mark.parametrize("at", ["issue.before-intent", "issue.intent-written", "issue.signed", "issue.recorded"])
def test_a_crash_while_a_request_is_certified(workshop: Opener, at: str) -> None:
    """Wherever it dies, the next one certifies the key of the request, and nobody has made one in its place."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, owner = await shop.root(), shop.owner("web")
            request = csr()
            with pytest.raises(Crash):
                await _certify(shop, issuer, owner, crash_at(at), spec=spec_of(request))
            publication = await _certify(shop, issuer, owner, spec=spec_of(request))
            assert isinstance(publication, Publication)
            assert publication.revision == 1
            assert publication.facts.spki_sha256 == hashlib.sha256(spki_der(KEY.public_key())).digest()
            content = secret_content(publication)
            assert (content.type, set(content.data)) == ("Opaque", {"tls.crt", "ca.crt"})
            rows = await shop.query(
                "SELECT csr, private_key_id FROM certificate_requests WHERE resource_uid = %s", owner.resource_uid
            )
            assert rows == [{"csr": der_of(request), "private_key_id": None}]
            assert await shop.query("SELECT count(*) AS keys FROM private_keys") == [{"keys": 0}]

    asyncio.run(act())
