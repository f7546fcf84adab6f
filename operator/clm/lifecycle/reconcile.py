"""Brings one Certificate to what it asks for.

1. Look: the object, and whether it needs anything at all.
2. Decide: spec, Policy, issuing CA. A refusal is written to status and audit, and nothing is issued.
3. Compare with what is recorded, and plan the one next step.
4. Issue, or finish what a crash left.
5. Publish: inventory and Secret, then the status, then the outbox row goes.

Every step may be the last before a crash, and all of it may be repeated.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from clm.errors import (
    AlreadyExists,
    ClmError,
    Conflict,
    InvalidInput,
    IssuanceFailed,
    KeyPending,
    KeystorePasswordInvalid,
    KeystorePasswordNotFound,
    NotFound,
    NotOurs,
    Unavailable,
)
from clm.lifecycle.ending import is_deleted_to_revoke, is_revoked
from clm.lifecycle.holds import Hold
from clm.lifecycle.results import Done, Result, RetryAfter
from clm.lifecycle.settled import done_until_next_look
from clm.lifecycle.status import (
    Refusal,
    changes,
    revoked_status,
    secret_of,
)
from clm.resources.records import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from clm.cluster.status import StatusWriter
    from clm.lifecycle.admission import Admission
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.certify import Certifier
    from clm.lifecycle.deliver import Delivery
    from clm.lifecycle.ending import Ending
    from clm.lifecycle.keystore_passwords import PasswordReader
    from clm.lifecycle.repair_pace import RepairPace
    from clm.lifecycle.rsa_keys import RsaKeys
    from clm.lifecycle.settled import Settled
    from clm.lifecycle.telling import Teller
    from clm.lifecycle.view import ClusterView, Key
    from clm.settings import Settings

logger = logging.getLogger(__name__)

_KEY_OVERDUE_S = 300.0
"""An object whose key is not there by then looks again by itself, and keeps its place in line."""


class Reconciler:
    """Reconciles Certificates."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        settings: Settings,
        view: ClusterView,
        settled: Settled,
        admission: Admission,
        certifier: Certifier,
        delivery: Delivery,
        passwords: PasswordReader,
        ending: Ending,
        statuses: StatusWriter,
        teller: Teller,
        rsa_keys: RsaKeys,
        pace: RepairPace[Key],
        boundary: Boundary,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._view = view
        self._settled = settled
        self._admission = admission
        self._certifier = certifier
        self._delivery = delivery
        self._passwords = passwords
        self._ending = ending
        self._statuses = statuses
        self._teller = teller
        self._rsa_keys = rsa_keys
        self._pace = pace
        self._boundary = boundary
        self._clock = clock

    async def reconcile(self, key: Key, *, thorough: bool = False) -> Result:
        """Bring one Certificate on. `thorough` looks closely even where everything seems to stand."""
        try:
            result = await self._reconcile(key, thorough=thorough)
        except KeyPending as error:
            return RetryAfter(str(error), delay_s=_KEY_OVERDUE_S)  # it is called as soon as the key is there
        except Exception:
            self._rsa_keys.forget(key)
            raise
        self._rsa_keys.forget(key)
        return result

    async def _reconcile(self, key: Key, *, thorough: bool) -> Result:
        entry = self._view.get(key)
        if entry is None:
            self._teller.outage_over(key)
            return Done()  # deleted: with deletionPolicy Retain the Secret and the certificate stay
        now = self._clock()
        if not thorough and self._settled.is_settled(key, entry, now=now):
            entry.body = None
            self._teller.outage_over(key)
            return done_until_next_look(entry, now=now)
        body = entry.body
        try:
            body = body or await self._teller.read(key)
            result = Done() if body is None else await self._attempt(key, body, now, thorough=thorough)
        except Unavailable as error:
            await self._teller.tell_of_outage(key, body, error)
            return RetryAfter(str(error))
        self._teller.outage_over(key)
        return result

    async def _attempt(  # noqa: PLR0911 - one an outcome
        self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool
    ) -> Result:
        """Bring an object on, and put what is in the way into its status."""
        try:
            return await self._live_or_end(key, body, now, thorough=thorough)
        except NotOurs as conflict:
            result = await self._teller.refuse(key, body, Refusal("SecretConflict", str(conflict)), retry=True)
            return self._slowly(key, body, result)
        except AlreadyExists as error:
            await self._teller.refresh(key)
            return self._slowly(key, body, RetryAfter(str(error)))
        except InvalidInput as error:
            return await self._teller.refuse(key, body, Refusal("InvalidSpec", str(error)))
        except IssuanceFailed as error:
            return await self._teller.failed(key, body, error)
        except (KeystorePasswordNotFound, KeystorePasswordInvalid) as error:
            # Nothing watches that Secret, so it is asked for again.
            waiting = isinstance(error, KeystorePasswordNotFound)
            return await self._teller.refuse(
                key, body, Refusal(type(error).__name__, str(error), waiting=waiting), retry=True
            )
        except Conflict as error:
            await self._teller.refresh(key)
            return RetryAfter(str(error))
        except NotFound as error:
            # Deleted while it was worked on, and then forgotten; or only its Secret's namespace is going.
            await self._teller.refresh(key)
            return RetryAfter(str(error))
        except (KeyPending, Unavailable):
            raise
        except ClmError as error:
            logger.error("%s: %s: %s", key, type(error).__name__, error)  # noqa: TRY400 - it is about the object
            return await self._teller.refuse(
                key, body, Refusal(type(error).__name__, str(error), waiting=True), retry=True
            )

    async def _live_or_end(self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool) -> Result:
        held = await self._ending.hold(body)
        if held is None:
            return Done()
        if held is not body:
            self._view.put(held)
        if is_deleted_to_revoke(held) or is_revoked(held):
            return await self._end(key, held, now, thorough=thorough)
        return await self._bring_on(key, held, now, thorough=thorough)

    async def _bring_on(self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool) -> Result:
        owner = self._owner(key, body)
        admitted = await self._admission.admit(key, body)
        if isinstance(admitted, Refusal):
            if thorough and not admitted.waiting:
                await self._certifier.finish_unwanted(owner, f"the object was refused: {admitted.reason}")
            return await self._teller.refuse(key, body, admitted)
        passwords = await self._passwords.read(key.namespace, admitted.spec.keystores)
        outcome = await self._certifier.certify(owner, body, admitted, now=now)
        if outcome is None:
            return RetryAfter("an earlier attempt was brought to its end", delay_s=0)
        if isinstance(outcome, Refusal):
            return await self._teller.refuse(key, body, outcome)
        if isinstance(outcome, Hold):
            return await self._teller.held(key, body, outcome)
        return await self._delivery.deliver(key, body, replace(outcome, passwords=passwords), now=now)

    def _slowly(self, key: Key, body: Mapping[str, Any], result: Result) -> Result:
        """Retry in the pace of repairs where the Secret had been ours: to replace it gains no more than to edit it."""
        if secret_of(body) is None or not isinstance(result, RetryAfter):
            return result
        return replace(result, delay_s=self._pace.delay_s(key))

    async def _end(self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool) -> Result:
        """Revoke what was issued; of an object that is being deleted, also let go of it."""
        owner = self._owner(key, body)
        if is_deleted_to_revoke(body):
            revoked = await self._ending.delete(owner, body)
            self._teller.say(
                key, body, "Normal", "Revoked", f"{revoked} certificates revoked, since the object was deleted"
            )
            return Done()
        ended = await self._ending.revoke(owner, body)
        if isinstance(ended, Refusal):
            return await self._teller.refuse(key, body, ended)
        status = changes(body, revoked_status(body, ended, now=now))
        if status:
            _, entry = self._view.put(await self._statuses.write(body, status))
            entry.body = None
            self._teller.say(key, body, "Normal", "Revoked", ended.message)
        self._boundary("revoke.status-written")
        if thorough and await self._finished_unwanted(owner):
            await self._ending.revoke(owner, body)
        return Done()

    async def _finished_unwanted(self, owner: Owner) -> bool:
        """Have an intent that was left pending signed and recorded as revoked. The relay comes again where it fails."""
        try:
            return await self._certifier.finish_unwanted(owner, "the object asks for its revocation")
        except ClmError as error:
            logger.warning("%s/%s: its pending intent is finished later: %s", owner.namespace, owner.name, error)
            return False

    def _owner(self, key: Key, body: Mapping[str, Any]) -> Owner:
        return Owner(self._settings.cluster_id, UUID(body["metadata"]["uid"]), key.namespace, key.name)
