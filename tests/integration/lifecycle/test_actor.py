"""Who gives a command is on the record by a pseudonym, and erasing the person leaves nobody behind it."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest

from clm.cli.actor import the_actor
from clm.cli.dependencies import key_acts
from clm.errors import SubjectErased
from clm.settings import SYSTEM_ORGANIZATION, settings_from_environment
from clm.wiring.upkeep import build_eraser

if TYPE_CHECKING:
    from clm.lifecycle.key_acts import Actor
    from tests.integration.lifecycle.parts import Parts, Site

GRACE = uuid.UUID(int=0x6ACE)
ACCOUNT = "Grace.Hopper"
LOG = "SELECT action, actor_id, details FROM secure_audit_log WHERE object_type = 'key' AND actor_type = 'user'"


async def _actor(parts: Parts, account: str = ACCOUNT, *, with_token: bool = True) -> Actor:
    """Name an account as a command of the system organization would."""
    environment = {
        "CLM_SECURE_DSN": "dbname=x", "CLM_CORE_DSN": "dbname=y", "CLM_PKCS11_MODULE": "/m", "CLM_TOKEN_PIN_FILE": "/p",
        "CLM_TOKEN_SERIAL": "1", "CLM_CLUSTER_ID": str(uuid.UUID(int=3)),
    }  # fmt: skip
    settings = settings_from_environment(environment)
    token = parts.token if with_token else None
    return await the_actor(settings, secure=parts.secure, core=parts.core, token=token, account=account)


@pytest.fixture
def grace(site: Site) -> None:
    """A user of the system organization, and a namesake of another one."""
    names = "INSERT INTO organizations (id, name, display_name) VALUES (%(id)s, 'other', 'Other')"
    site.query("core", names, id=uuid.UUID(int=5))
    user = "INSERT INTO users (id, organization_id, username) VALUES (%(id)s, %(org)s, 'grace.hopper')"
    site.query("core", user, id=uuid.uuid4(), org=uuid.UUID(int=5))
    site.query("core", user, id=GRACE, org=SYSTEM_ORGANIZATION)


@pytest.mark.usefixtures("grace")
def test_erasing_who_acted_leaves_an_id_that_names_nobody(site: Site) -> None:
    """The account is in the record under the person's own key; after the erasure no key opens it, and no row has it."""

    async def act(parts: Parts) -> None:
        key = await parts.ca_key()
        acts = key_acts(parts.secure, actor=await _actor(parts))
        await acts.change(key.id, "deactivate", reason="drill")
        await acts.destroy(parts.token, key.id, reason="drill")

    site.do(act)
    before = site.query("secure", LOG)
    assert {row["actor_id"] for row in before} == {f"user:{GRACE}"}
    sealed = before[0]["details"]["actor"]
    opened = site.do(lambda parts: parts.vault.open(SYSTEM_ORGANIZATION, GRACE, sealed))
    assert opened["account"] == ACCOUNT
    assert "grace" not in str(before).lower()

    async def erase(parts: Parts) -> None:
        eraser = build_eraser(parts.secure, parts.core, actor="account:test")
        await eraser.erase(await eraser.find(str(GRACE)), reason="asked to")

    site.do(erase)
    assert site.query("secure", LOG)[: len(before)] == before
    with pytest.raises(SubjectErased):
        site.do(lambda parts: parts.vault.open(SYSTEM_ORGANIZATION, GRACE, sealed))
    assert site.query("core", "SELECT username FROM users WHERE id = %(id)s", id=GRACE) == [
        {"username": f"erased-{GRACE}"}
    ]


@pytest.mark.usefixtures("grace")
def test_without_a_token_there_is_the_id_alone(site: Site) -> None:
    """Which is enough: the row that it names is emptied by the erasure."""
    actor = site.do(lambda parts: _actor(parts, with_token=False))
    assert (actor.id, actor.details) == (f"user:{GRACE}", {})


def test_an_account_that_is_no_user_is_a_digest(site: Site) -> None:
    """The same for the same account; its name is not to be read from it."""
    one, same, other = (site.do(lambda parts, who=who: _actor(parts, who)) for who in ("root", "ROOT", "admin"))  # type: ignore[misc]
    assert re.fullmatch("account:[0-9a-f]{32}", one.id)
    assert one.id == same.id != other.id
    assert one.sealed is None


@pytest.mark.usefixtures("grace")
def test_no_key_encryption_key_is_made_for_it(site: Site) -> None:
    """Where none is active the id is recorded alone, and the first one stays for the controller to make."""

    async def act(parts: Parts) -> Actor:
        await parts.key_acts().change(parts.keyring.current_id, "suspend", reason="drill")
        return await _actor(parts)

    assert site.do(act).sealed is None
    assert len(site.query("secure", "SELECT id FROM encryption_keys WHERE purpose = 'kek'")) == 1
