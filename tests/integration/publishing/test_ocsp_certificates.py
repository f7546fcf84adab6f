"""Certificates of responder replicas: for who proves its key, by the path of all certificates, and of no object."""

from __future__ import annotations

import dataclasses
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from clm.lifecycle.ocsp_certificates import OcspCertificates, is_responder, responder_owner
from clm.storage.core.metadata import MetadataStore
from clm.storage.core.ocsp_requests import OcspRequestStore
from tests.integration.issuance.workshop import ORGANIZATION, Crash, crash_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.lifecycle.crl_schedule import PublishingCa
    from tests.fix_postgres import DatabasePair
    from tests.integration.publishing.conftest import Printer
    from tests.integration.publishing.press import Press

LIFETIME = timedelta(hours=24)
_ASK = """
INSERT INTO clm_status.ocsp_responders (id, issuer_key_id, organization_id, csr, origin)
VALUES (%s, %s, %s, %s, 'responder-0')
"""


def request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A replica's request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def certificates(
    press: Press, *, boundary: str = "", monotonic: Callable[[], float] = time.monotonic
) -> OcspCertificates:
    """Make the part that answers; `boundary` is where it dies."""
    return OcspCertificates(
        store=OcspRequestStore(press.core),
        issuance=press.shop.issuance(crash_at(boundary)),
        history=press.shop.history,
        metadata=MetadataStore(press.core, origin="test", version="0"),
        outbox=press.shop.outbox,
        cluster_id=press.shop.cluster_id,
        organization_id=ORGANIZATION,
        namespace="clm-system",
        lifetime=LIFETIME,
        clock=press.now,
        monotonic=monotonic,
    )


async def ask(press: Press, csr: bytes) -> uuid.UUID:
    """Ask as the responder's own user does, which may do no more."""
    request_id = uuid.uuid4()
    async with await psycopg.AsyncConnection.connect(press.responder_dsn) as connection, connection.transaction():
        await connection.execute("SET TRANSACTION READ WRITE")
        await connection.execute(_ASK, [request_id, press.root.key_id, ORGANIZATION, csr])
    return request_id


async def answered(press: Press, request_id: uuid.UUID) -> dict[str, Any]:
    """Read what came of a request."""
    query = "SELECT certificate, not_after, refused_reason FROM clm_status.ocsp_responders WHERE id = %s"
    (row,) = await press.query(query, request_id)
    return row


async def ca_of(press: Press) -> dict[uuid.UUID, PublishingCa]:
    """The root as the rounds know it."""
    rounds = press.rounds()
    await rounds.refresh()
    return {key_id: known.ca for key_id, known in rounds.cas.items()}


def test_a_replica_is_certified(printer: Printer) -> None:
    """It may sign OCSP answers for a day and nothing else, is in record and inventory, and waits in no outbox."""

    async def act(press: Press) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        request_id = await ask(press, request(key))
        assert await certificates(press).answer(await ca_of(press)) == 1
        row = await answered(press, request_id)
        certificate = x509.load_der_x509_certificate(row["certificate"])
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(press.root.chain[0]))
        assert certificate.public_key() == key.public_key()
        assert certificate.not_valid_after_utc == row["not_after"]
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
        assert not extensions.get_extension_for_class(x509.OCSPNoCheck).critical
        assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        (recorded,) = await press.shop.query(
            "SELECT id, cluster_id, resource_uid, namespace, name, state, renewal_due_at FROM certificates"
            " WHERE name LIKE 'ocsp-%%'"
        )
        owner = responder_owner(press.shop.cluster_id, "clm-system", request_id)
        assert recorded["resource_uid"] == owner.resource_uid
        assert is_responder(owner)
        assert not is_responder(press.shop.owner(owner.name))
        assert (recorded["state"], recorded["renewal_due_at"]) == ("active", None)
        listed = await press.query("SELECT status FROM certificate_metadata WHERE id = %s", recorded["id"])
        assert [row["status"] for row in listed] == ["active"]
        assert await press.shop.query("SELECT id FROM clm_work.outbox WHERE id = %s", recorded["id"]) == []
        assert await certificates(press).answer(await ca_of(press)) == 0

    printer(act)


@pytest.mark.parametrize(
    ("csr", "said"),
    [
        (b"\x30" * 100, "no request that can be read"),
        (request(ec.generate_private_key(ec.SECP384R1())), "is of a ECDSA-384 key"),
        (request(ec.generate_private_key(ec.SECP256R1()))[:-1] + b"\x00", "proof"),
    ],
)
def test_who_does_not_prove_a_fitting_key_is_refused(printer: Printer, csr: bytes, said: str) -> None:
    """It reads why, and is not looked at again."""

    async def act(press: Press) -> None:
        request_id = await ask(press, csr)
        assert await certificates(press).answer(await ca_of(press)) == 0
        row = await answered(press, request_id)
        assert said in row["refused_reason"]
        assert row["certificate"] is None
        assert await OcspRequestStore(press.core).waiting([press.root.key_id], limit=10) == []

    printer(act)


@pytest.mark.parametrize("boundary", ["issue.intent-written", "issue.signed", "issue.recorded"])
def test_what_a_crash_left_is_finished(printer: Printer, boundary: str) -> None:
    """The same certificate is brought to its end: one a request."""

    async def act(press: Press) -> None:
        request_id = await ask(press, request(ec.generate_private_key(ec.SECP256R1())))
        with pytest.raises(Crash):
            await certificates(press, boundary=boundary).answer(await ca_of(press))
        assert await certificates(press).answer(await ca_of(press)) == 1
        assert (await answered(press, request_id))["certificate"] is not None
        recorded = await press.shop.query("SELECT state FROM certificates WHERE name = %s", f"ocsp-{request_id}")
        assert [row["state"] for row in recorded] == ["active"]

    printer(act)


def test_one_that_was_ended_meanwhile_is_replaced(printer: Printer) -> None:
    """The sweep of unfinished work was faster, and recorded the intent as unwanted: the replica gets another."""

    async def act(press: Press) -> None:
        request_id = await ask(press, request(ec.generate_private_key(ec.SECP256R1())))
        with pytest.raises(Crash):
            await certificates(press, boundary="issue.intent-written").answer(await ca_of(press))
        owner = responder_owner(press.shop.cluster_id, "clm-system", request_id)
        newest = await press.shop.history.newest(owner)
        assert newest is not None
        intent = await press.shop.history.intent(newest.id)
        assert intent is not None
        await press.shop.finish(intent, unwanted="nobody waits")
        assert await certificates(press).answer(await ca_of(press)) == 1
        recorded = await press.shop.query(
            "SELECT state FROM certificates WHERE name = %s ORDER BY revision", f"ocsp-{request_id}"
        )
        assert [row["state"] for row in recorded] == ["revoked", "active"]

    printer(act)


def test_a_flood_waits(printer: Printer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many an hour are certified for one CA; the others wait, and are refused nothing."""
    monkeypatch.setattr("clm.lifecycle.ocsp_certificates._MOST_AN_HOUR", 2)

    async def act(press: Press) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        for _ in range(4):
            await ask(press, request(key))
        answering = certificates(press)
        assert [await answering.answer(await ca_of(press)) for _ in range(2)] == [2, 0]
        assert len(await OcspRequestStore(press.core).waiting([press.root.key_id], limit=10)) == 2

    printer(act)


def test_a_ca_that_cannot_sign_keeps_no_other_waiting(printer: Printer, caplog: pytest.LogCaptureFixture) -> None:
    """However many ask it, and first: it is left out for half a minute, and told of once."""
    at = [0.0]
    state = "UPDATE encryption_keys SET state = %s, state_reason = 'drill' WHERE id = %s"

    async def act(press: Press) -> None:
        issuing = await press.shop.intermediate(press.root, press.shop.owner("issuing"))
        below = dataclasses.replace(press, root=issuing)
        await below.announce()
        await press.shop.query(state, "suspended", press.root.key_id)
        csr = request(ec.generate_private_key(ec.SECP256R1()))
        for _ in range(25):
            await ask(press, csr)
        other = await ask(below, csr)
        answering = certificates(press, monotonic=lambda: at[0])
        cas = await ca_of(press)
        assert set(cas) == {press.root.key_id, issuing.key_id}
        assert await answering.answer(cas) == 1
        assert (await answered(press, other))["certificate"] is not None
        assert await answering.answer(cas) == 0
        at[0] = 31.0
        assert await answering.answer(cas) == 0
        await press.shop.query(state, "active", press.root.key_id)
        assert await answering.answer(cas) == 0
        at[0] = 62.0
        assert await answering.answer(cas) > 0

    printer(act)
    assert len([record for record in caplog.records if " later: " in record.message]) == 1


def test_old_requests_go(printer: Printer, databases: DatabasePair) -> None:
    """What a replica leaves behind when it restarts: certified, asked in vain, or refused, and each at its time."""

    async def act(press: Press) -> None:
        good = request(ec.generate_private_key(ec.SECP256R1()))
        certified = [await ask(press, good) for _ in range(2)]
        refused = [await ask(press, b"\x30" * 100) for _ in range(2)]
        await certificates(press).answer(await ca_of(press))
        asked = [await ask(press, good) for _ in range(2)]
        store = OcspRequestStore(press.core)
        assert await store.clean() == 0
        admin = await psycopg.AsyncConnection.connect(databases.superuser_dsn("core"), autocommit=True)
        async with admin:
            row = "UPDATE clm_status.ocsp_responders SET"
            await admin.execute(f"{row} requested_at = now() - interval '25 hours' WHERE id = %s", [asked[0]])
            await admin.execute(f"{row} requested_at = now() - interval '25 hours' WHERE id = %s", [refused[0]])
            await admin.execute(f"{row} requested_at = now() - interval '25 hours' WHERE id = %s", [certified[1]])
            await admin.execute(f"{row} not_after = now() - interval '2 hours' WHERE id = %s", [certified[0]])
        assert await store.clean() == 3
        left = await press.query("SELECT id FROM clm_status.ocsp_responders")
        assert {row["id"] for row in left} == {certified[1], refused[1], asked[1]}

    printer(act)
