"""What an operation works with: one session, logged in, with the handles found in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, ObjectClass

from clm.errors import KeyMismatch, KeyMissing
from clm.hsm.connection import check_alive
from clm.hsm.faults import LostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    import pkcs11

    from clm.hsm.connection import Connection
    from clm.hsm.library import Library

logger = logging.getLogger(__name__)

# python-pkcs11 makes a class for each object it finds, with the methods that the key's attributes allow.
Key = Any


class SessionContext:
    """One worker's session. Used by that worker's thread alone, and only within one operation."""

    def __init__(
        self,
        *,
        library: Library,
        connection: Connection,
        session: pkcs11.Session,
        may_doubt: Callable[[bytes, int], bool],
        check_values: Mapping[bytes, bytes],
    ) -> None:
        """Take the worker's open session.

        `may_doubt` says whether a missing key (id, generation) is to be doubted. `check_values` are the recorded ones
        of secret keys, by id.
        """
        self.session = session
        self.connection = connection
        self._library = library
        self._may_doubt = may_doubt
        self._check_values = check_values
        self._handles: dict[tuple[ObjectClass, bytes], Key] = {}

    def private_key(self, key_id: UUID, *, is_recorded: Callable[[Key], bool] | None = None) -> Key:
        """Private key with this CKA_ID.

        Of several the one that `is_recorded`, which is asked only then. Raises KeyMissing, and KeyMismatch when there
        are several and nothing tells which.
        """
        return self._key(ObjectClass.PRIVATE_KEY, key_id, is_recorded)

    def secret_key(self, key_id: UUID, *, is_recorded: Callable[[Key], bool] | None = None) -> Key:
        """Secret key with this CKA_ID; see `private_key`."""
        return self._key(ObjectClass.SECRET_KEY, key_id, is_recorded)

    def check_value(self, key_id: UUID) -> bytes | None:
        """Recorded check value of a secret key; None while nobody has told it."""
        return self._check_values.get(key_id.bytes)

    def choose(self, found: list[Key], key_id: UUID, is_recorded: Callable[[Key], bool] | None) -> Key:
        """Choose the recorded one of several objects of one id and class, and report the others.

        Anybody with the PIN, and many a tool, can put a second object under an id: that must not stop the first.
        Raises KeyMismatch.
        """
        what = f"token {self.connection.token.label!r} has {len(found)} keys of id {key_id}"
        chosen = next((key for key in found if is_recorded is not None and is_recorded(key)), None)
        if chosen is None:
            raise KeyMismatch(f"{what}, and none of them is known to be the recorded one")
        logger.warning("%s; the recorded one is used, the others are strangers and have to be removed", what)
        return chosen

    def find(self, template: dict[Attribute, Any]) -> list[Key]:
        """Objects that match. An empty list is checked: a token that is gone has no objects either."""
        found = list(self.session.get_objects(template))
        if not found:
            self.check_alive()
        return found

    def check_alive(self) -> None:
        """Raise LostError unless the token is there and this session logged in."""
        check_alive(self._library, self.connection, self.session)

    def doubt(self, key_id: UUID) -> None:
        """Raise LostError once in a while for a key that was not found.

        A token that went away and came back between two calls looks sound and empty until the module is
        initialized again, so a missing key is believed only after that.
        """
        if self._may_doubt(key_id.bytes, self.connection.generation):
            raise LostError(f"key {key_id} is not in the token")

    def _key(self, object_class: ObjectClass, key_id: UUID, is_recorded: Callable[[Key], bool] | None) -> Key:
        known = self._handles.get((object_class, key_id.bytes))
        if known is not None:
            return known
        found = self.find({Attribute.CLASS: object_class, Attribute.ID: key_id.bytes, Attribute.TOKEN: True})
        if not found:
            self.doubt(key_id)
            raise KeyMissing(f"token {self.connection.token.label!r} has no key {key_id}")
        key = found[0] if len(found) == 1 else self.choose(found, key_id, is_recorded)
        self._handles[object_class, key_id.bytes] = key
        return key
