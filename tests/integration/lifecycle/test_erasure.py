"""A person is erased: nothing readable is left, nothing of the record is changed, and no restore undoes it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from clm.errors import InvalidInput, SubjectErased, UnderLegalHold, WrapRejected
from clm.lifecycle.erasure import read_export
from clm.lifecycle.subjects import subject_key_id
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.core.metadata import MetadataStore
from clm.wiring.upkeep import build_eraser
from tests.integration.lifecycle.killing import kill_at
from tests.integration.lifecycle.parts import AUDIT
from tests.sql import rows

if TYPE_CHECKING:
    from clm.lifecycle.erasure import Eraser, Replayed
    from tests.integration.lifecycle.parts import Parts, Site

ADA = uuid.UUID(int=0xADA)
SECRETS = ("Ada Lovelace", "ada@example.com", "https://idp.example.com", "sub-ada", "ada.lovelace")
PERSONAL = {"name": "Ada Lovelace", "address": "ada@example.com"}


@pytest.fixture
def ada(site: Site) -> uuid.UUID:
    """A user with everything that tells who she is, wherever it may stand."""
    names = {"id": ADA, "org": SYSTEM_ORGANIZATION, "step": uuid.uuid4()}
    statements = """
    INSERT INTO users (id, organization_id, username, display_name, email, identity_issuer, identity_subject)
    VALUES (%(id)s, %(org)s, 'ada.lovelace', 'Ada Lovelace', 'ada@example.com', 'https://idp.example.com', 'sub-ada');
    INSERT INTO user_organizations (organization_id, user_id) VALUES (%(org)s, %(id)s);
    INSERT INTO sessions (organization_id, user_id, token_sha256, auth_method, source_ip, idle_expires_at, expires_at)
    VALUES (%(org)s, %(id)s, sha256('t'), 'oidc', '192.0.2.1', now() + '1 hour', now() + '1 hour');
    INSERT INTO notifications (organization_id, kind, channel, recipient_user_id, recipient, deduplication_key)
    VALUES (%(org)s, 'renewal', 'email', %(id)s, 'ada@example.com', 'n');
    INSERT INTO api_keys (organization_id, user_id, name, prefix, token_hmac, hmac_key_id, expires_at)
    VALUES (%(org)s, %(id)s, 'laptop', 'clm_live', sha256('k'), 'h', now() + '1 day');
    INSERT INTO workflows (id, organization_id, name, kind) VALUES (%(step)s, %(org)s, 'w', 'certificate-approval');
    INSERT INTO workflow_instances (id, organization_id, workflow_id, idempotency_key, object_type, object_id,
        requester_user_id, requested_by)
    VALUES (%(step)s, %(org)s, %(step)s, 'i', 'certificate', 'c', %(id)s, '{"username": "ada.lovelace"}');
    INSERT INTO workflow_steps (organization_id, instance_id, step_number, kind, name, state, approver,
        approver_user_id, approver_identity, decided_at, comment)
    VALUES (%(org)s, %(step)s, 1, 'approval', 'a', 'approved', 'ada.lovelace', %(id)s,
        '{"email": "ada@example.com"}', now(), 'looks good, Ada Lovelace')
    """
    for statement in statements.split(";"):
        site.query("core", statement, **names)
    return ADA


def _eraser(parts: Parts) -> Eraser:
    return build_eraser(parts.secure, parts.core, actor="account:test")


def _erase(site: Site, who: str = "Ada.Lovelace") -> None:
    async def act(parts: Parts) -> None:
        eraser = _eraser(parts)
        await eraser.erase(await eraser.find(who), reason="asked to")

    site.do(act)


def _replay(site: Site, exported: str | None = None) -> Replayed:
    return site.do(lambda parts: _eraser(parts).replay(read_export(exported) if exported else []))


def _readable(site: Site) -> list[str]:
    """What can be found of the person in a dump of either database."""
    found = []
    for database in ("secure", "core"):
        names = site.query(
            database,
            "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r'"
            " AND n.nspname IN ('public', 'clm_work', 'clm_status', 'clm_meta', 'clm_audit_parts')",
        )
        for row in names:
            dump = str(site.query(database, f"SELECT t.*::text AS row FROM {row['name']} t"))
            found += [f"{row['name']}: {secret}" for secret in SECRETS if secret in dump]
    return found


def _seal(site: Site, data: dict[str, Any]) -> dict[str, str]:
    """Put personal data into an audit record; give what stands there."""

    async def act(parts: Parts) -> dict[str, str]:
        sealed = await parts.vault.seal(SYSTEM_ORGANIZATION, ADA, data)
        record = AuditRecord(
            organization_id=SYSTEM_ORGANIZATION,
            action="certificate.refuse",
            object_type="certificate",
            object_id="shop/web",
            actor_type="user",
            actor_id=str(ADA),
            details={"person": sealed},
        )
        await MetadataStore(parts.core, **AUDIT).audit(record)
        return sealed

    return site.do(act)


def _open(site: Site, sealed: dict[str, str], subject_id: uuid.UUID = ADA) -> dict[str, Any]:
    return site.do(lambda parts: parts.vault.open(SYSTEM_ORGANIZATION, subject_id, sealed))


def test_personal_data_in_the_audit_log_open_for_their_person_only(site: Site) -> None:
    """What stands in the log is ciphertext; it opens with the person's key, unchanged, and with no other."""
    first, second = _seal(site, PERSONAL), _seal(site, PERSONAL)
    assert first["sealed"] != second["sealed"]
    assert "Ada" not in str(site.query("core", "SELECT * FROM audit_log"))
    assert _open(site, first) == PERSONAL
    with pytest.raises(WrapRejected):
        _open(site, first, uuid.UUID(int=1))
    with pytest.raises(WrapRejected):
        _open(site, {**first, "sealed": first["sealed"][:-8] + "AAAAAAA="})
    keys = site.query("secure", "SELECT count(*) AS number FROM encryption_keys WHERE purpose = 'subject-shred'")
    assert keys == [{"number": 1}]


@pytest.mark.usefixtures("ada")
def test_an_erased_person_is_readable_nowhere(site: Site) -> None:
    """Every table of both databases is searched; the log is as it was, to the octet, and what it sealed never opens."""
    sealed = _seal(site, PERSONAL)
    before = site.query("core", "SELECT id, details_canonical FROM audit_log")
    assert len(_readable(site)) > 8
    _erase(site)
    assert _readable(site) == []
    assert [row for row in site.query("core", "SELECT id, details_canonical FROM audit_log") if row in before] == before
    with pytest.raises(SubjectErased):
        _open(site, sealed)
    (key,) = site.query("secure", "SELECT state, wrapped_key FROM encryption_keys WHERE purpose = 'subject-shred'")
    assert key == {"state": "destroyed", "wrapped_key": None}
    assert site.actions("secure", ADA) == ["subject.erase"]
    assert site.actions("core", ADA) == ["subject.erase"]
    (step,) = site.query("core", "SELECT state, approver FROM workflow_steps")
    assert step == {"state": "approved", "approver": f"user:{ADA}"}


@pytest.mark.usefixtures("ada")
def test_nothing_about_an_erased_person_is_written_again(site: Site) -> None:
    """Also where no key was ever made for them: none is made afterwards."""
    _erase(site)
    with pytest.raises(SubjectErased):
        _seal(site, PERSONAL)


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("where", ["user", "key"])
def test_a_legal_hold_keeps_a_person(site: Site, where: str) -> None:
    """GDPR article 17(3): a hold on the row or on the key, and nothing is touched in either database."""
    sealed = _seal(site, PERSONAL)
    if where == "user":
        site.query("core", "UPDATE users SET legal_hold = true WHERE id = %(id)s", id=ADA)
    else:
        site.query("secure", "UPDATE encryption_keys SET legal_hold = true WHERE purpose = 'subject-shred'")
    with pytest.raises(UnderLegalHold):
        _erase(site)
    assert _open(site, sealed) == PERSONAL
    assert _readable(site) != []
    assert site.query("secure", "SELECT 1 FROM clm_meta.erasure_tombstones") == []


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("boundary", ["erasure.shredded", "erasure.emptied"])
@pytest.mark.parametrize("then", ["erase", "replay"])
def test_an_erasure_that_was_killed_is_completed(site: Site, boundary: str, then: str) -> None:
    """After kill -9 the key is gone for good; erasing again or the daily replay empties the rest, recorded once."""
    sealed = _seal(site, PERSONAL)
    kill_at(site, "erase", ADA, boundary)
    with pytest.raises(SubjectErased):
        _open(site, sealed)
    if then == "replay":
        assert _replay(site).erased == ([ADA] if boundary == "erasure.shredded" else [])
    elif boundary == "erasure.shredded":
        _erase(site)
    else:
        with pytest.raises(InvalidInput, match="no such user"):
            _erase(site)
    assert _readable(site) == []
    assert site.actions("secure", ADA) == ["subject.erase"]
    assert site.actions("core", ADA) == ["subject.erase"]


def _asked(site: Site, who: dict[str, str], organization: uuid.UUID = SYSTEM_ORGANIZATION) -> None:
    """Have somebody ask for a rotation, a certificate and a revocation, and say why; the comment names nobody else."""
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        of = {"organization_id": organization, "requested_by": json.dumps(who)}
        rows.insert(connection, "key_rotation_history", {**of, "target_kind": "certificates"})
        ca = rows.insert(connection, "encryption_keys", rows.ca_key(organization_id=organization))
        request = rows.insert(connection, "certificate_requests", rows.request(ca, **of))
        values = rows.certificate(request, ca, organization_id=organization)
        rows.insert(connection, "certificates", values)
        revocation = {"certificate_id": request, "issuer_key_id": ca, "serial_number": values["serial_number"]}
        rows.insert(connection, "certificate_revocations", {**of, **revocation, "comment": "left it"})
    with psycopg.connect(site.databases.superuser_dsn("core"), autocommit=True) as connection:
        rows.insert(connection, "certificate_metadata", rows.metadata(**of))


def _asked_by(site: Site) -> list[tuple[str, dict[str, str]]]:
    """Who is named as requester, by table."""
    found = []
    for database, table in (
        ("secure", "key_rotation_history"), ("secure", "certificate_requests"), ("secure", "certificate_revocations"),
        ("core", "certificate_metadata"),
    ):  # fmt: skip
        who = site.query(database, f"SELECT requested_by AS who FROM {table} WHERE requested_by <> '{{}}'")  # type: ignore[arg-type]
        found += [(table, row["who"]) for row in who]
    return found


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("who", [{"username": "ADA.Lovelace"}, {"username": "a", "subject": str(ADA)}])
def test_who_asked_is_forgotten_however_they_were_written_down(site: Site, who: dict[str, str]) -> None:
    """By the name in any case, and by the id; what was said about it goes as well."""
    _asked(site, who)
    _erase(site)
    assert _asked_by(site) == []
    assert site.query("secure", "SELECT comment FROM certificate_revocations") == [{"comment": None}]


@pytest.mark.usefixtures("ada")
def test_a_namesake_in_another_organization_is_not_erased(site: Site) -> None:
    """The same login name there is somebody else's; the id is the person's, also there."""
    other, guest = uuid.UUID(int=98), uuid.UUID(int=99)
    _asked(site, {"username": "ada.lovelace"}, other)
    _asked(site, {"username": "guest", "subject": str(ADA)}, guest)
    _erase(site)
    assert {table for table, who in _asked_by(site) if who == {"username": "ada.lovelace"}} == {
        "key_rotation_history", "certificate_requests", "certificate_revocations", "certificate_metadata",
    }  # fmt: skip
    assert len(_asked_by(site)) == 4
    comments = site.query(
        "secure", "SELECT comment FROM certificate_revocations WHERE organization_id = %(o)s", o=other
    )
    assert comments == [{"comment": "left it"}]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("comment", "stays"),
    [
        ("asked for by ada.lovelace.", False), ("mail to ADA@example.com", False), ("Ada Lovelace has left", False),
        ("the host ada.lovelace2 is gone", True), ("see adaXlovelace", True),
    ],
)  # fmt: skip
def test_a_comment_that_names_the_person_goes(site: Site, comment: str, *, stays: bool) -> None:
    """By login name, address or name, as words of their own; what was said about others stays."""
    _asked(site, {"username": "grace"})
    site.query("secure", "UPDATE certificate_revocations SET comment = %(comment)s", comment=comment)
    _erase(site)
    assert site.query("secure", "SELECT comment FROM certificate_revocations") == [
        {"comment": comment if stays else None}
    ]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("exported", [True, False], ids=["with-the-file", "without"])
def test_clm_secure_db_restored_alone(site: Site, *, exported: bool) -> None:
    """Its requests have the name again, and clm_core_db has forgotten it: it is found by the tombstone's digest."""
    _erase(site)
    file = site.do(lambda parts: _eraser(parts).export()) if exported else None
    guards = "ALTER TABLE clm_meta.erasure_tombstones {} TRIGGER ALL"
    for statement in (guards.format("DISABLE"), "DELETE FROM clm_meta.erasure_tombstones", guards.format("ENABLE")):
        site.query("secure", statement)
    _asked(site, {"username": "Ada.Lovelace"})
    _asked(site, {"username": "grace"})
    site.query("core", "DELETE FROM certificate_metadata")
    assert _replay(site, file).erased == [ADA]
    assert {who["username"] for _, who in _asked_by(site)} == {"grace"}
    assert _replay(site, file).erased == []


def _restore(site: Site, backup: dict[str, list[dict[str, Any]]], *, tombstones: bool) -> None:
    """Bring back what an older backup has: the person's row and key, and no tombstone if that is older still."""
    guards = "ALTER TABLE clm_meta.erasure_tombstones {} TRIGGER ALL"
    for database in ("secure", "core"):
        if not tombstones:
            site.query(database, guards.format("DISABLE"))
            site.query(database, "DELETE FROM clm_meta.erasure_tombstones")
            site.query(database, guards.format("ENABLE"))
    with psycopg.connect(site.databases.superuser_dsn("core"), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        (user,) = backup["users"]
        connection.execute(
            "UPDATE users SET username = %(username)s, display_name = %(display_name)s, email = %(email)s,"
            " status = 'active', erased_at = NULL, legal_hold = %(legal_hold)s, updated_at = %(updated_at)s"
            " WHERE id = %(id)s",
            user,
        )
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        connection.execute("ALTER TABLE encryption_keys DISABLE TRIGGER encryption_keys_state")
        (key,) = backup["keys"]
        connection.execute(
            "UPDATE encryption_keys SET state = 'active', wrapped_key = %(wrapped_key)s, destroyed_at = NULL"
            " WHERE id = %(id)s",
            key,
        )
        connection.execute("ALTER TABLE encryption_keys ENABLE ALWAYS TRIGGER encryption_keys_state")


def _backup(site: Site) -> dict[str, list[dict[str, Any]]]:
    return {
        "users": site.query("core", "SELECT * FROM users WHERE id = %(id)s", id=ADA),
        "keys": site.query("secure", "SELECT * FROM encryption_keys WHERE purpose = 'subject-shred'"),
    }


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("tombstones", [True, False], ids=["younger-backup", "older-backup"])
def test_a_restore_does_not_bring_a_person_back(site: Site, *, tombstones: bool) -> None:
    """Whatever backup was restored: by the tombstones, at the latest by the exported ones, the person goes again."""
    sealed = _seal(site, PERSONAL)
    backup = _backup(site)
    _erase(site)
    exported = site.do(lambda parts: _eraser(parts).export())
    _restore(site, backup, tombstones=tombstones)
    assert _open(site, sealed) == PERSONAL
    assert _replay(site, exported).erased == [ADA]
    with pytest.raises(SubjectErased):
        _open(site, sealed)
    assert _readable(site) == []
    assert _replay(site, exported).erased == []
    for database in ("secure", "core"):
        stones = site.query(database, "SELECT subject_id, reason FROM clm_meta.erasure_tombstones")
        assert stones == [{"subject_id": ADA, "reason": "asked to"}]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("younger", [False, True], ids=["hold-from-before", "hold-from-after"])
def test_only_a_hold_that_is_younger_than_the_erasure_counts_after_a_restore(site: Site, *, younger: bool) -> None:
    """A hold that the backup brings back was lifted before the erasure; one that was set since must be obeyed."""
    _seal(site, PERSONAL)
    backup = _backup(site)
    _erase(site)
    touched = datetime.now(UTC) + timedelta(minutes=1) if younger else datetime.now(UTC) - timedelta(days=1)
    backup["users"][0] |= {"legal_hold": True, "updated_at": touched}
    _restore(site, backup, tombstones=True)
    replayed = _replay(site)
    assert replayed.refused == ([ADA] if younger else [])
    assert (_readable(site) == []) is not younger


@pytest.mark.usefixtures("ada")
def test_tombstones_tell_no_name_and_stay(site: Site) -> None:
    """The exported file has ids and times; the rows refuse to be changed or removed, also by their owner."""
    _erase(site)
    exported = site.do(lambda parts: _eraser(parts).export())
    assert [secret for secret in SECRETS if secret in exported] == []
    assert [entry["subject"] for entry in json.loads(exported)["tombstones"]] == [str(ADA)]
    for statement in ("DELETE FROM {}", "UPDATE {} SET reason = 'x'", "TRUNCATE {}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only added"):
            site.query("secure", statement.format("clm_meta.erasure_tombstones"))


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other"}', '{"format": "clm-erasure-tombstones/1"}'])
def test_a_file_that_is_no_export_is_refused(text: str) -> None:
    """Nobody is erased by a file that cannot be read."""
    with pytest.raises(InvalidInput):
        read_export(text)


def test_the_key_of_a_person_follows_from_the_person() -> None:
    """Two who make it at once make one row."""
    assert subject_key_id(SYSTEM_ORGANIZATION, ADA) == subject_key_id(SYSTEM_ORGANIZATION, ADA)
    assert subject_key_id(SYSTEM_ORGANIZATION, ADA) != subject_key_id(SYSTEM_ORGANIZATION, uuid.UUID(int=1))
