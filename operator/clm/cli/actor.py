"""Who gives a command, for the audit log: a pseudonym, and who that is only where erasure reaches it.

An account that is the login name of a user (of the system organization, or of the one that is served) is recorded as
that user's id: erasing the user leaves an id that names nobody. Where the command has the token at hand, account and
machine are recorded as well, encrypted under the user's own key, which erasure destroys. Any other account is recorded
as a slow digest of its name.
"""

from __future__ import annotations

import getpass
import logging
import socket
from typing import TYPE_CHECKING, Any

from clm.errors import ClmError
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.key_acts import Actor
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.subjects import SubjectVault
from clm.resources.pseudonyms import name_digest
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.core.persons import PersonStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.subjects import SubjectStore
from clm.wiring.process import writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.hsm.token import Token
    from clm.settings import Settings
    from clm.storage.core.persons import Person
    from clm.storage.database import Database
    from clm.wiring.process import Writer

logger = logging.getLogger(__name__)


async def the_actor(
    settings: Settings, *, secure: Database, core: Database, token: Token | None = None, account: str | None = None
) -> Actor:
    """Name whoever runs this command. `account` is by default that of this process on this machine.

    Without a `token` nothing but the pseudonym is recorded. Raises DatabaseUnavailable.
    """
    name = account or _account()
    audit = writer()
    namesakes = {it.organization_id: it for it in await PersonStore(core, **audit).by_name(name)}
    # Who runs the installation is at home in the system organization, or in the one that it serves.
    person = namesakes.get(SYSTEM_ORGANIZATION) or namesakes.get(settings.organization_id)
    if person is None:
        return Actor(_digest(name))
    return Actor(f"user:{person.id}", await _sealed(person, name, secure, token, audit))


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _digest(name: str) -> str:
    return f"account:{name_digest(SYSTEM_ORGANIZATION, name)[:16].hex()}"


async def _sealed(
    person: Person, account: str, secure: Database, token: Token | None, audit: Writer
) -> Mapping[str, Any] | None:
    if token is None:
        return None
    keys = KeyStore(secure, **audit)
    if not any(row.state == "active" for row in await keys.of_purpose("kek", SYSTEM_ORGANIZATION)):
        return None  # to open the keyring would make the very first one, which is the controller's to do
    keyring = Keyring(keys=HsmKeys(token=token, store=keys, boundary=no_boundary), store=keys)
    vault = SubjectVault(token=token, keyring=keyring, store=SubjectStore(secure, **audit))
    try:
        await keyring.open()
        return await vault.seal(
            person.organization_id, person.id, {"account": account, "machine": socket.gethostname()}
        )
    except ClmError as error:
        # The pseudonym is enough: a key is to be destroyed also when the key-encryption key is what is wrong.
        logger.warning("who gives the command is recorded by a pseudonym alone: %s", error)
        return None
