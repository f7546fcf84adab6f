"""Ends what was issued for an object, because the object says so: by spec.revocation, or by being deleted.

spec.revocation: every unexpired certificate of the object is revoked, and nothing more is issued while it is there.

deletionPolicy Revoke: a finalizer holds the object, from before its first certificate is issued until
1. its certificates are recorded as revoked,
2. they are announced, unless clm_core_db is away: the relay announces what the outbox has,
3. its Secrets are gone, those of a former spec.secretName too.
Neither waits for the HSM: an intent that was not signed yet is signed and recorded as revoked later, by the relay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.errors import NotFound, Unavailable
from clm.lifecycle.status import Refusal
from clm.resources.conditions import find
from clm.resources.revocation import REASONS, Revocation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.cluster.client import ApiClient
    from clm.cluster.secret_watch import SecretWatch
    from clm.cluster.secrets import SecretStore
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.revoke import Revoker
    from clm.resources.records import Owner
    from clm.resources.revocation import Revocable, RevocationReason
    from clm.storage.secure.revocations import RevocationStore

logger = logging.getLogger(__name__)

FINALIZER = "clm-operator.io/revoke"
ON_DELETION: RevocationReason = "cessationOfOperation"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the certificates of an object: how many are revoked, why the newest is, and since when."""

    revoked: int
    reason: RevocationReason
    since: datetime | None
    message: str


class Ending:
    """Carries out spec.revocation and deletionPolicy Revoke."""

    def __init__(
        self,
        *,
        client: ApiClient,
        store: RevocationStore,
        revoker: Revoker,
        secrets: SecretStore,
        secret_watch: SecretWatch,
        boundary: Boundary,
    ) -> None:
        self._client = client
        self._store = store
        self._revoker = revoker
        self._secrets = secrets
        self._secret_watch = secret_watch
        self._boundary = boundary

    async def hold(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Set the finalizer where deletionPolicy asks for it, and take it away where it does not.

        Gives the object as it is then; None when that let it go. Raises StaleObject, NotFound, Refused,
        ClusterUnavailable. An object that is as it should be costs nothing.
        """
        if not finalizer_differs(body):
            return body
        held = FINALIZER in _finalizers(body)
        answer = await self._set_finalizer(body, held=not held)
        return None if held and _is_deleted(body) else answer

    async def revoke(self, owner: Owner, body: Mapping[str, Any]) -> Ended | Refusal:
        """Revoke what was issued for an object, for the reason that its spec gives. Safe to repeat.

        Raises DatabaseUnavailable.
        """
        reason = asked_reason(body)
        if reason is None:
            return Refusal("InvalidSpec", f"spec.revocation.reason: must be one of {', '.join(REASONS)}")
        found = await self._store.of_object(owner)
        if found and all(one.is_self_signed for one in found):
            return Refusal("RevocationRefused", _SELF_SIGNED)
        changed = await self._revoker.record(found, _revocation(reason, body, "spec.revocation"))
        if changed or not _is_told(body):
            standing = await self._store.of_object(owner)
            recorded = await self._store.recorded_of([one.id for one in standing if one.reason is not None])
            await self._revoker.announce([*recorded, *(one for one in changed if one not in recorded)])
            found = standing
        return _ended(found, reason)

    async def delete(self, owner: Owner, body: Mapping[str, Any]) -> int:
        """Revoke what was issued for an object that is being deleted, delete its Secrets and let it go. Safe to repeat.

        Returns how many certificates were revoked. Raises DatabaseUnavailable (of clm_secure_db), StaleObject, Refused,
        ClusterUnavailable.
        """
        found = await self._store.of_object(owner)
        reason = asked_reason(body) or ON_DELETION
        recorded = await self._revoker.record(found, _revocation(reason, body, "deletionPolicy Revoke"))
        try:
            await self._revoker.announce(recorded)
        except Unavailable as error:
            logger.warning("%s/%s: its revocation is announced later: %s", owner.namespace, owner.name, error)
        await self._delete_secrets(body)
        self._boundary("revoke.secret-deleted")
        if FINALIZER in _finalizers(body):
            try:
                await self._set_finalizer(body, held=False)
            except NotFound:
                logger.info("%s/%s: somebody else let it go", owner.namespace, owner.name)
        return len(recorded)

    async def _delete_secrets(self, body: Mapping[str, Any]) -> None:
        """Delete the Secret that the spec names, and those that were written under names that it had before."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        current = str((body.get("spec") or {}).get("secretName", ""))
        known = ((body.get("status") or {}).get("secret") or {}).get("uid")
        former = set(self._secret_watch.written_for(namespace, name, uid=known)) - {current}
        for secret in (current, *sorted(former)):
            deleted = await self._secrets.delete(namespace, secret, certificate_name=name, known_uid=known)
            if deleted and secret != current:
                logger.info("%s/%s: Secret %s, of a former spec.secretName, went too", namespace, name, secret)

    async def _set_finalizer(self, body: Mapping[str, Any], *, held: bool) -> dict[str, Any]:
        metadata = body["metadata"]
        others = [name for name in _finalizers(body) if name != FINALIZER]
        patch = {
            "metadata": {
                "resourceVersion": metadata["resourceVersion"],
                "finalizers": [*others, FINALIZER] if held else others,
            }
        }
        return await self._client.merge_patch(paths.certificate(metadata["namespace"], metadata["name"]), patch)


_SELF_SIGNED = (
    "spec.revocation: a self-signed certificate cannot be revoked, since nobody asks whether a trust anchor is: take it"
    " out of the trust stores, revoke what it issued, and call its key compromised or deactivate it (clm keys);"
    " meanwhile nothing is issued"
)


def is_deleted_to_revoke(body: Mapping[str, Any]) -> bool:
    """Tell whether the object is being deleted, and its certificates are to go with it."""
    return _is_deleted(body) and _revokes_on_deletion(body)


def is_revoked(body: Mapping[str, Any]) -> bool:
    """Tell whether the spec asks for the revocation of what was issued."""
    return (body.get("spec") or {}).get("revocation") is not None


def finalizer_differs(body: Mapping[str, Any]) -> bool:
    """Tell whether the finalizer has to be set, or taken away. None can be set once the object is being deleted."""
    wanted, held = _revokes_on_deletion(body), FINALIZER in _finalizers(body)
    return wanted != held and not (wanted and _is_deleted(body))


def asked_reason(body: Mapping[str, Any]) -> RevocationReason | None:
    """Reason that the spec gives; None for none, or for one that CLM does not take."""
    asked = ((body.get("spec") or {}).get("revocation") or {}).get("reason")
    return asked if asked in REASONS else None


def _is_deleted(body: Mapping[str, Any]) -> bool:
    return body["metadata"].get("deletionTimestamp") is not None


def _revokes_on_deletion(body: Mapping[str, Any]) -> bool:
    return (body.get("spec") or {}).get("deletionPolicy") == "Revoke"


def _finalizers(body: Mapping[str, Any]) -> list[str]:
    return list(body["metadata"].get("finalizers") or ())


def _is_told(body: Mapping[str, Any]) -> bool:
    """Tell whether the status says of this generation that it is revoked: then all of it has been announced."""
    said = find((body.get("status") or {}).get("conditions") or (), "Revoked")
    return said is not None and said.get("observedGeneration") == body["metadata"]["generation"]


def _revocation(reason: RevocationReason, body: Mapping[str, Any], cause: str) -> Revocation:
    generation = body["metadata"]["generation"]
    return Revocation(reason=reason, details={"cause": cause, "generation": generation})


def _ended(found: Sequence[Revocable], asked: RevocationReason) -> Ended:
    revoked = [one for one in found if one.reason is not None]
    if not revoked:
        message = "no unexpired certificate was there to revoke; nothing is issued while spec.revocation is there"
        return Ended(0, asked, None, message)
    newest = revoked[-1]
    reason = newest.reason or asked
    many = "1 certificate is" if len(revoked) == 1 else f"{len(revoked)} certificates are"
    stands = f" (the first reason stands, not {asked})" if reason != asked else ""
    message = f"{many} revoked, reason {reason}{stands}; nothing is issued while spec.revocation is there"
    return Ended(len(revoked), reason, newest.revoked_at, message)
