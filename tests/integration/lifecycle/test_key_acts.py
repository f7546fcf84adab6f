"""States of keys: allowed steps only, and a destruction that a kill -9 can only delay."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
from pkcs11 import Attribute, KeyType

from clm.errors import KeyInUse, KeyMissing, KeyNotActive
from clm.hsm.keys import find_signing_key
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.key_acts import Actor, KeyActs
from clm.resources.key_states import TRANSITIONS, Cryptoperiods
from clm.storage.secure.destruction import PrivateKeyDestruction
from clm.storage.secure.key_acts import KeyActStore
from tests.integration.lifecycle.killing import kill_at
from tests.integration.lifecycle.parts import AUDIT, ORGANIZATION
from tests.sql import rows

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.resources.records import HsmKeyRow
    from clm.storage.secure.key_acts import KeyOverview
    from tests.integration.lifecycle.parts import Parts, Site


def test_the_database_and_the_program_agree_on_every_step(site: Site) -> None:
    """36 pairs of states: whatever one allows the other does."""
    allowed = set()
    states = {
        "generating": {},
        "active": {},
        "suspended": {},
        "deactivated": {},
        "compromised": {},
        "destroyed": {"destroyed_at": "2026-01-01T00:00:00Z"},
    }
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        for came_from, known in states.items():
            for to, needed in states.items():
                with connection.transaction(force_rollback=True):
                    key_id = rows.insert(connection, "encryption_keys", rows.ca_key(state=came_from, **known))
                    try:
                        rows.update(connection, "encryption_keys", key_id, state=to, **needed)
                    except psycopg.errors.CheckViolation:
                        continue
                    allowed.add((came_from, to))
    stays = {(state, state) for state in states}
    assert allowed - stays == {(came_from, to) for came_from, after in TRANSITIONS.items() for to in after}


def test_an_activated_key_has_its_cryptoperiod(site: Site) -> None:
    """SP 800-57: until when a CA key signs, and until when a key-encryption key wraps and then opens."""
    site.do(lambda parts: parts.ca_key())
    periods = Cryptoperiods()
    found = site.query(
        "secure",
        "SELECT purpose, oup_ends_at - activated_at AS oup, rup_ends_at - activated_at AS rup FROM encryption_keys",
    )
    assert {row["purpose"]: (row["oup"], row["rup"]) for row in found} == {
        purpose: (periods.of(purpose).originator, periods.of(purpose).recipient) for purpose in ("ca-signing", "kek")
    }


def test_what_nobody_may_sign_any_more_does_not_wait(site: Site) -> None:
    """Intents of a CA whose key is called compromised become failed, in the same transaction and with the reason."""
    key = site.do(lambda parts: parts.ca_key())
    _insert(site, "certificate_requests", rows.request(key.id))
    site.do(lambda parts: parts.key_acts().change(key.id, "compromise", reason="found on a forum"))
    (request,) = site.query("secure", "SELECT state, failure_reason FROM certificate_requests")
    assert request == {"state": "failed", "failure_reason": "the issuer's key was compromised: found on a forum"}
    assert site.actions("secure", key.id)[-1] == "key.compromise"


def test_a_key_that_is_needed_stays(site: Site) -> None:
    """A key-encryption key with a private key under it, and a CA key with a certificate that stands: both refuse."""

    async def act(parts: Parts) -> None:
        kek = parts.keyring.current_id
        with pytest.raises(KeyInUse, match="wraps all that is issued"):
            await parts.key_acts().change(kek, "deactivate", reason="drill")
        await parts.key_acts().change(kek, "compromise", reason="drill")
        with pytest.raises(KeyInUse, match="1 private keys depend on it"):
            await parts.key_acts().destroy(parts.token, kek, reason="drill")
        await parts.hsm_keys.verify(next(row for row in await parts.keys.all_rows() if row.id == kek))

    kek_id = site.do(_kek_id)
    _insert(site, "private_keys", rows.private_key(kek_id))
    site.do(act)


def test_a_suspended_key_encryption_key_still_opens_and_wraps_nothing_new(site: Site) -> None:
    """A restart under it publishes what there is; a person's data are read, and no new key is wrapped."""
    person, other = uuid.uuid4(), uuid.uuid4()
    sealed = site.do(lambda parts: parts.vault.seal(ORGANIZATION, person, {"name": "Ada"}))
    kek = site.do(_kek_id)
    site.do(lambda parts: parts.key_acts().change(kek, "suspend", reason="drill"))
    assert site.do(_kek_id) == kek
    assert site.do(lambda parts: parts.vault.open(ORGANIZATION, person, sealed)) == {"name": "Ada"}
    with pytest.raises(KeyNotActive):
        site.do(lambda parts: parts.vault.seal(ORGANIZATION, other, {"name": "Grace"}))
    site.do(lambda parts: parts.key_acts().change(kek, "resume", reason="drill"))
    site.do(lambda parts: parts.vault.seal(ORGANIZATION, other, {"name": "Grace"}))


def test_a_key_of_another_token_is_not_taken_for_gone(site: Site) -> None:
    """Where the row names another token, the objects are sought there and nothing becomes destroyed here."""
    key = site.do(lambda parts: parts.ca_key())
    site.query("secure", "UPDATE encryption_keys SET token_serial = 'another' WHERE id = %(id)s", id=key.id)

    async def act(parts: Parts) -> None:
        await parts.key_acts().change(key.id, "deactivate", reason="drill")
        with pytest.raises(KeyMissing, match="is in token another"):
            await parts.key_acts().destroy(parts.token, key.id, reason="drill")

    site.do(act)
    assert _state(site, key) == "deactivated"


@pytest.mark.parametrize(
    ("boundary", "state", "in_token"),
    [
        ("key.destruction-begun", "deactivated", True),
        ("key.objects-destroyed", "deactivated", False),
        ("key.destruction-recorded", "destroyed", False),
    ],
)
def test_a_destruction_that_was_killed_is_completed(site: Site, boundary: str, state: str, *, in_token: bool) -> None:
    """After kill -9 the row says where it stands; once more, and the key is gone, recorded once."""
    key = site.do(lambda parts: parts.ca_key())
    site.do(lambda parts: parts.key_acts().change(key.id, "deactivate", reason="drill"))
    kill_at(site, "destroy", key.id, boundary)
    assert _state(site, key) == state
    assert (site.do(lambda parts: find_signing_key(parts.token, key.id)) is not None) is in_token

    async def again(parts: Parts) -> None:
        if state == "destroyed":
            with pytest.raises(KeyInUse, match="is destroyed"):
                await parts.key_acts().destroy(parts.token, key.id, reason="drill")
        else:
            await parts.key_acts().destroy(parts.token, key.id, reason="drill")
        assert await find_signing_key(parts.token, key.id) is None

    site.do(again)
    assert _state(site, key) == "destroyed"
    done = site.query(
        "secure",
        "SELECT count(*) AS number FROM secure_audit_log WHERE object_id = %(id)s AND details->>'step' = 'done'",
        id=str(key.id),
    )
    assert done == [{"number": 1}]


def test_a_stranger_under_a_keys_id_survives_its_destruction(site: Site) -> None:
    """Only what carries the key's id and its label goes."""
    key = site.do(lambda parts: parts.ca_key("mine"))
    stranger = key.id

    async def act(parts: Parts) -> None:
        await parts.token.run(lambda context: _make_stranger(context, stranger))
        await parts.key_acts().change(key.id, "deactivate", reason="drill")
        assert await parts.key_acts().destroy(parts.token, key.id, reason="drill") == 2
        left = await parts.token.run(lambda context: _labels(context, stranger))
        assert left == ["stranger"]

    site.do(act)


def _make_stranger(context: SessionContext, key_id: uuid.UUID) -> None:
    template = {Attribute.ID: key_id.bytes, Attribute.LABEL: "stranger"}
    context.session.generate_key(KeyType.AES, 256, store=True, template=template)


def _labels(context: SessionContext, key_id: uuid.UUID) -> list[str]:
    found = context.find({Attribute.ID: key_id.bytes, Attribute.TOKEN: True})
    return [str(key[Attribute.LABEL]) for key in found]


async def _kek_id(parts: Parts) -> uuid.UUID:
    return parts.keyring.current_id


def _state(site: Site, key: HsmKeyRow) -> str:
    (row,) = site.query("secure", "SELECT state FROM encryption_keys WHERE id = %(id)s", id=key.id)
    return str(row["state"])


def _insert(site: Site, table: str, values: dict[str, object]) -> uuid.UUID:
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        return rows.insert(connection, table, values)


def test_a_destruction_that_is_refused_changes_nothing(site: Site) -> None:
    """A hold that came after the look and before the lock: the key keeps its reason, and no destruction has begun."""
    key = site.do(lambda parts: parts.ca_key())
    site.do(lambda parts: parts.key_acts().change(key.id, "deactivate", reason="replaced"))

    async def act(parts: Parts) -> None:
        store = _HoldingStore(parts.secure, **AUDIT)
        store.site = site
        acts = KeyActs(store=store, boundary=no_boundary, actor=Actor("account:test"))
        with pytest.raises(KeyInUse, match="legal hold"):
            await acts.destroy(parts.token, key.id, reason="drill")

    site.do(act)
    assert _reason(site, key) == "replaced"
    assert "key.destroy" not in site.actions("secure", key.id)


def test_a_destruction_that_is_refused_after_its_first_commit_is_taken_back(site: Site) -> None:
    """A hold between the two commits: nothing was destroyed, so that nothing is reported as unfinished for ever."""
    key = site.do(lambda parts: parts.ca_key())
    site.do(lambda parts: parts.key_acts().change(key.id, "deactivate", reason="replaced"))

    async def act(parts: Parts) -> None:
        acts = parts.key_acts(lambda name: _hold(site) if name == "key.destruction-begun" else None)
        with pytest.raises(KeyInUse, match="legal hold"):
            await acts.destroy(parts.token, key.id, reason="drill")
        assert await find_signing_key(parts.token, key.id) is not None

    site.do(act)
    assert _reason(site, key) == "replaced"
    (refused,) = site.query(
        "secure",
        "SELECT outcome, reason FROM secure_audit_log WHERE object_id = %(id)s AND details->>'step' = 'refused'",
        id=str(key.id),
    )
    assert refused == {"outcome": "denied", "reason": "key clm-ca-root is under legal hold"}


def test_a_destruction_that_another_run_has_begun_is_not_taken_back(site: Site) -> None:
    """After a crash its objects may be gone: whatever refuses the next run, the row goes on saying so."""
    key = site.do(lambda parts: parts.ca_key())
    site.do(lambda parts: parts.key_acts().change(key.id, "deactivate", reason="replaced"))
    kill_at(site, "destroy", key.id, "key.objects-destroyed")

    async def act(parts: Parts) -> None:
        acts = parts.key_acts(lambda name: _hold(site) if name == "key.destruction-begun" else None)
        with pytest.raises(KeyInUse, match="legal hold"):
            await acts.destroy(parts.token, key.id, reason="drill")

    site.do(act)
    assert _reason(site, key).startswith("destruction begun: ")


def test_a_leaf_key_under_a_hold_that_came_meanwhile_stays(site: Site) -> None:
    """The hold is looked for under the lock, whatever was seen before."""
    kek = site.do(_kek_id)
    key_id = _insert(site, "private_keys", rows.private_key(kek))

    async def act(parts: Parts) -> None:
        keys = PrivateKeyDestruction(parts.secure, **AUDIT)
        leaf = await keys.one(key_id)
        assert leaf is not None
        assert not leaf.legal_hold
        site.query("secure", "UPDATE private_keys SET legal_hold = true")
        with pytest.raises(KeyInUse, match="legal hold"):
            await keys.destroy_one(leaf, reason="drill", actor="account:test")

    site.do(act)
    assert site.query("secure", "SELECT state FROM private_keys") == [{"state": "active"}]


class _HoldingStore(KeyActStore):
    """The store of a process beside which somebody sets a hold after it has looked at a key."""

    site: Site

    async def one(self, key_id: uuid.UUID) -> KeyOverview | None:
        """Look; then the hold is set."""
        found = await super().one(key_id)
        _hold(self.site)
        return found


def _hold(site: Site) -> None:
    site.query("secure", "UPDATE encryption_keys SET legal_hold = true WHERE purpose = 'ca-signing'")


def _reason(site: Site, key: HsmKeyRow) -> str:
    (row,) = site.query("secure", "SELECT state_reason FROM encryption_keys WHERE id = %(id)s", id=key.id)
    return str(row["state_reason"])
