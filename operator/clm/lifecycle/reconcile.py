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
    Invalid,
    InvalidInput,
    IssuanceFailed,
    KeyPending,
    KeystorePasswordInvalid,
    KeystorePasswordNotFound,
    NotFound,
    NotOurs,
    Overtaken,
    Refused,
    SecretTooLarge,
    StaleObject,
    Unavailable,
)
from clm.lifecycle.contest import next_contest
from clm.lifecycle.ending import is_deleted_to_revoke, is_revoked
from clm.lifecycle.holds import Hold, with_hold
from clm.lifecycle.results import Done, Result, RetryAfter
from clm.lifecycle.status import (
    Refusal,
    changes,
    contested_status,
    ready_status,
    revoked_status,
    secret_of,
)
from clm.resources.records import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from clm.cluster.secret_watch import SecretWatch
    from clm.cluster.secrets import SecretVersion
    from clm.cluster.status import StatusWriter
    from clm.lifecycle.admission import Admission
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.certify import Certifier
    from clm.lifecycle.ending import Ending
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.keystore_passwords import PasswordReader
    from clm.lifecycle.publish import Publisher
    from clm.lifecycle.repair_pace import RepairPace
    from clm.lifecycle.rsa_keys import RsaKeys
    from clm.lifecycle.telling import Teller
    from clm.lifecycle.view import ClusterView, Key
    from clm.settings import Settings
    from clm.storage.secure.outbox import OutboxStore

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
        secret_watch: SecretWatch,
        admission: Admission,
        certifier: Certifier,
        publisher: Publisher,
        passwords: PasswordReader,
        ending: Ending,
        statuses: StatusWriter,
        teller: Teller,
        outbox: OutboxStore,
        rsa_keys: RsaKeys,
        pace: RepairPace[Key],
        boundary: Boundary,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._view = view
        self._secret_watch = secret_watch
        self._admission = admission
        self._certifier = certifier
        self._publisher = publisher
        self._passwords = passwords
        self._ending = ending
        self._statuses = statuses
        self._teller = teller
        self._outbox = outbox
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
        if not thorough and self.settled(key, entry, now=now):
            entry.body = None
            self._teller.outage_over(key)
            return self._done(entry, now)
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

    def settled(self, key: Key, entry: Entry, *, now: datetime) -> bool:
        """Tell whether the object and its Secret are as the last write of ours left them."""
        secret = self._secret_watch.version(key.namespace, entry.secret_name)
        return (
            entry.settled(secret, now=now.timestamp())
            and self._view.has_its_issuer(key, entry)
            and self._view.owns_its_secret(key, entry)
            and self._view.has_its_chain(key, entry)
        )

    def secret_stands(self, key: Key, entry: Entry) -> bool:
        """Tell whether the Secret is as the last write of ours left it."""
        secret = self._secret_watch.version(key.namespace, entry.secret_name)
        return secret is not None and (secret.uid, secret.resource_version) == (
            entry.secret_uid,
            entry.secret_resource_version,
        )

    def quiet_for_s(self, key: Key, entry: Entry) -> float | None:
        """Seconds until the object needs a look; None when it needs one now."""
        now = self._clock()
        if not self.settled(key, entry, now=now):
            return None
        return entry.next_look_at - now.timestamp()

    def now(self) -> float:
        """Seconds since the epoch, by the clock that renewals are counted with."""
        return self._clock().timestamp()

    async def _live_or_end(self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool) -> Result:
        held = await self._ending.hold(body)
        if held is None:
            return Done()
        if held is not body:
            self._view.put(held)
        if is_deleted_to_revoke(held) or is_revoked(held):
            return await self._end(key, held, now, thorough=thorough)
        return await self._bring_on(key, held, now, thorough=thorough)

    async def _bring_on(  # noqa: PLR0911 - one an outcome
        self, key: Key, body: dict[str, Any], now: datetime, *, thorough: bool
    ) -> Result:
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
        outcome = replace(outcome, passwords=passwords)
        known = secret_of(body)
        new = known is None
        try:
            version = await self._publisher.publish(outcome, probably_new=new, known=known)
        except StaleObject as error:
            return await self._overtaken(key, body, error, now)
        except Refused as error:
            refusal = _secret_refused(admitted.spec.secret_name, error)
            for_good = isinstance(error, Invalid)
            result = await self._teller.refuse(key, body, refusal, retry=not for_good)
            if for_good and isinstance(result, Done):
                # What can be done is done, until the object or its Secret changes; the relay would try the same again.
                await self._outbox.finish(outcome.id)
            return result
        self._secret_watch.wrote(key.namespace, admitted.spec.secret_name, version)
        repairs = self._pace.repairs(key)
        contest = next_contest(body.get("status"), changed_by=version.changed_by, repairs=repairs, now=now)
        status = ready_status(body, outcome, version, now=now, contest=contest)
        status = changes(body, with_hold(body, status, outcome.hold, now=now))
        entry = await self._conclude(key, body, status, version)
        self._boundary("publish.status-written")
        await self._outbox.finish(outcome.id)
        self._boundary("publish.outbox-cleared")
        if new:
            self._teller.say(
                key, body, "Normal", "Issued", f"Certificate with serial {outcome.facts.serial_number.hex()} issued"
            )
        return self._done(entry, now)

    async def _overtaken(self, key: Key, body: dict[str, Any], error: StaleObject, now: datetime) -> Result:
        """Try again as slowly as after a repair, or who writes fast enough would have us write for ever."""
        if isinstance(error, Overtaken):
            repairs, status = self._pace.repairs(key), body.get("status") or {}
            contest = next_contest(status, changed_by=error.changed_by, repairs=repairs, now=now)
            await self._write_status(key, body, changes(body, contested_status(body, contest, now=now)))
        await self._teller.refresh(key)
        return RetryAfter(str(error), delay_s=self._pace.delay_s(key))

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

    async def _conclude(self, key: Key, body: dict[str, Any], status: dict[str, Any], version: SecretVersion) -> Entry:
        """Write the status; but a Secret that others changed where they may is no news, and no repair."""
        others_only = {name: value for name, value in (status.get("secret") or {}).items() if name != "resourceVersion"}
        known = secret_of(body)
        if not version.untouched or status.keys() > {"secret"} or known is None or others_only != {"uid": known.uid}:
            return await self._write_status(key, body, status)
        self._pace.was_harmless(key)
        _, entry = self._view.put(body)
        entry.secret_uid, entry.secret_resource_version = version.uid, version.resource_version
        entry.body = None
        return entry

    async def _write_status(self, key: Key, body: dict[str, Any], status: dict[str, Any]) -> Entry:
        if status:
            _, entry = self._view.put(await self._statuses.write(body, status))
        else:
            _, entry = self._view.put(body)
        if self.settled(key, entry, now=self._clock()):
            entry.body = None
        return entry

    def _owner(self, key: Key, body: Mapping[str, Any]) -> Owner:
        return Owner(self._settings.cluster_id, UUID(body["metadata"]["uid"]), key.namespace, key.name)

    def _done(self, entry: Entry, now: datetime) -> Done:
        if entry.next_look_at == float("inf"):
            return Done()
        return Done(max(entry.next_look_at - now.timestamp(), 0.0), recorded=entry.look_is_recorded)


def _secret_refused(name: str, error: Refused) -> Refusal:
    if isinstance(error, SecretTooLarge):
        return Refusal("SecretTooLarge", str(error))
    return Refusal(
        "SecretRefused",
        f"the API server refuses the Secret {name}: {error}; change what refuses it (quota, webhook, admission policy),"
        " or spec.secretName or spec.secretTemplate",
    )
