"""Personal data in audit records: readable while the person's key stands, and never again once it is shredded.

An audit record names its actor by a pseudonym. Where more about a person has to be recorded (a name, an address), it is
put into the details under a key of that person's own, wrapped by the key-encryption key. A seal covers the ciphertext,
so that destroying the key changes no record and breaks no proof.
"""

from __future__ import annotations

import base64
import os
import uuid
from typing import TYPE_CHECKING, Any, Final

import orjson

from clm.errors import KeyMissing, KeyNotActive, SubjectErased, WrapRejected
from clm.hsm import kek
from clm.hsm.envelope import aad_for_dek, aad_for_payload, open_payload, seal_payload
from clm.resources.audit import AuditRecord
from clm.resources.key_states import Cryptoperiods
from clm.settings import NAMESPACE
from clm.storage.secure.subjects import NewSubjectKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.hsm.token import Token
    from clm.lifecycle.keyring import Keyring
    from clm.storage.secure.subjects import SubjectStore

PURPOSE: Final = "subject-shred"
_KEY_OCTETS = 32


class SubjectVault:
    """Seals and opens personal data, one key a person. Keys are not kept in memory."""

    def __init__(
        self, *, token: Token, keyring: Keyring, store: SubjectStore, periods: Cryptoperiods | None = None
    ) -> None:
        self._token = token
        self._keyring = keyring
        self._store = store
        self._period = (periods or Cryptoperiods()).of(PURPOSE)

    async def seal(self, organization_id: uuid.UUID, subject_id: uuid.UUID, data: Mapping[str, Any]) -> dict[str, str]:
        """Encrypt personal data; what comes back goes into the details of an audit record, under a name of its own.

        Raises SubjectErased when the person's data were erased, KeyNotActive, HsmError, HsmUnavailable,
        DatabaseUnavailable.
        """
        key_id, key = await self._key(organization_id, subject_id)
        sealed = seal_payload(key, orjson.dumps(dict(data)), _payload_aad(key_id, organization_id))
        return {"subjectKey": str(key_id), "sealed": base64.b64encode(sealed).decode()}

    async def open(
        self, organization_id: uuid.UUID, subject_id: uuid.UUID, sealed: Mapping[str, str]
    ) -> dict[str, Any]:
        """Decrypt what `seal` gave. Raises SubjectErased once the key is shredded, WrapRejected, HsmUnavailable."""
        stored = await self._store.key(organization_id, subject_id)
        if stored is None or str(stored.id) != sealed.get("subjectKey"):
            raise WrapRejected("these data were not sealed for this person")
        key = await self._unwrap(organization_id, stored.id, stored.wrapping_key_id, stored.wrapped_key)
        octets = base64.b64decode(sealed["sealed"])
        opened: dict[str, Any] = orjson.loads(open_payload(key, octets, _payload_aad(stored.id, organization_id)))
        return opened

    async def _key(self, organization_id: uuid.UUID, subject_id: uuid.UUID) -> tuple[uuid.UUID, bytes]:
        stored = await self._store.key(organization_id, subject_id)
        if stored is None:
            await self._make(organization_id, subject_id)
            stored = await self._store.key(organization_id, subject_id)
        if stored is None:
            raise KeyNotActive(f"no key for person {subject_id} can be wrapped: the key-encryption key is not active")
        return stored.id, await self._unwrap(organization_id, stored.id, stored.wrapping_key_id, stored.wrapped_key)

    async def _make(self, organization_id: uuid.UUID, subject_id: uuid.UUID) -> None:
        key_id, kek_id = subject_key_id(organization_id, subject_id), self._keyring.current_id
        wrapped = await kek.wrap(
            self._token, kek_id, os.urandom(_KEY_OCTETS), aad=_key_aad(key_id, organization_id, kek_id)
        )
        new = NewSubjectKey(
            id=key_id,
            organization_id=organization_id,
            subject_id=subject_id,
            kek_id=kek_id,
            wrapped_key=wrapped,
            originator=self._period.originator,
            recipient=self._period.recipient,
        )
        audit = AuditRecord(
            organization_id=organization_id,
            action="key.generate",
            object_type="key",
            object_id=str(key_id),
            details={"purpose": PURPOSE, "algorithm": "AES-256", "version": 1, "wrappedBy": str(kek_id)},
        )
        await self._store.insert(new, audit)

    async def _unwrap(
        self, organization_id: uuid.UUID, key_id: uuid.UUID, kek_id: uuid.UUID | None, wrapped: bytes | None
    ) -> bytes:
        if wrapped is None:
            raise SubjectErased(f"key {key_id} was shredded: the person's data were erased")
        if kek_id is None:
            raise KeyMissing(f"key {key_id} names no key that wraps it")
        return await kek.unwrap(self._token, kek_id, wrapped, aad=_key_aad(key_id, organization_id, kek_id))


def subject_key_id(organization_id: uuid.UUID, subject_id: uuid.UUID) -> uuid.UUID:
    """Id of the first key of a person: whoever makes it makes the same row."""
    return uuid.uuid5(NAMESPACE, f"subject-key/{organization_id}/{subject_id}/1")


def _key_aad(key_id: uuid.UUID, organization_id: uuid.UUID, kek_id: uuid.UUID) -> bytes:
    return aad_for_dek(purpose=PURPOSE, row_id=key_id, organization_id=organization_id, kek_id=kek_id)


def _payload_aad(key_id: uuid.UUID, organization_id: uuid.UUID) -> bytes:
    return aad_for_payload(purpose=PURPOSE, row_id=key_id, organization_id=organization_id)
