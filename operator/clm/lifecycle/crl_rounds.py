"""Goes round the CAs of this cluster that publish, and attends to those of which something is due.

What the responder is served is remembered here, and read again now and then: so a round costs one small question to
each database, however many CRLs there are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.lifecycle.crl_schedule import PublishingCa, current_parts, due_parts
from clm.pki.crl import COMPLETE
from clm.pki.profile import Issuer
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from datetime import datetime

    from clm.lifecycle.crl_schedule import States
    from clm.lifecycle.crls import CrlPublisher, Published
    from clm.storage.core.crls import CrlStore, IssuerRow
    from clm.storage.secure.revoked import RevokedStore, SigningKey

logger = logging.getLogger(__name__)

_ENDED = frozenset({"deactivated", "compromised", "destroyed"})
"""States in which a key signs nothing any more, no CRL either. A suspended one is tried, and that it fails is told."""

_SETTLED = timedelta(minutes=10)
"""So long after a scheme was given up, no certificate that names it can be on its way any more."""


@dataclass(slots=True)
class Known:
    """One CA, and its CRLs as they stand. `until` is when its newest certificate expires: then it signs no more.

    `behind`: they are older than what was published once, as clm_core_db was restored to an earlier time.
    """

    ca: PublishingCa
    until: datetime
    states: States
    behind: bool = False

    @property
    def name(self) -> str:
        """Namespace and name of the CA's Certificate."""
        return self.ca.row.name


class CrlRounds:
    """What is known of the CAs that publish, and what is due of them."""

    def __init__(
        self, *, store: CrlStore, revoked: RevokedStore, publisher: CrlPublisher, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._revoked = revoked
        self._publisher = publisher
        self._clock = clock
        self.rows: dict[uuid.UUID, IssuerRow] = {}
        self.cas: dict[uuid.UUID, Known] = {}
        self._keys: dict[uuid.UUID, SigningKey] = {}

    async def refresh(self) -> None:
        """Read what the responder is served, and which of it is this cluster's. Raises DatabaseUnavailable."""
        self.rows = {row.issuer_key_id: row for row in await self._store.issuers()}
        if not self.rows:
            self.cas, self._keys = {}, {}
            return
        keys = await self._revoked.keys(list(self.rows))
        states: dict[uuid.UUID, States] = {key_id: {} for key_id in keys}
        for state in await self._store.states():
            if state.issuer_key_id in states:
                states[state.issuer_key_id][state.shards, state.shard] = state
        cas: dict[uuid.UUID, Known] = {}
        for key_id, key in keys.items():
            if key.state in _ENDED:
                continue
            try:
                issuer = _issuer(self.rows[key_id], key)
            except ValueError as error:
                # What cannot be read of one CA must not keep the others from publishing.
                logger.error("%s: its certificate in clm_status cannot be read: %s", self.rows[key_id].name, error)  # noqa: TRY400
                continue
            assert issuer.not_after is not None  # noqa: S101 - it is read from the CA's certificate
            cas[key_id] = Known(PublishingCa(self.rows[key_id], issuer), issuer.not_after, states[key_id])
        new = {
            key_id: known.states[COMPLETE].this_update
            for key_id, known in cas.items()
            if key_id not in self.cas and COMPLETE in known.states
        }
        behind = await self._revoked.behind(new) if new else set()
        gone_back = {key_id for key_id, former in self.cas.items() if key_id in cas and _went_back(former, cas[key_id])}
        for key_id, known in cas.items():
            former = self.cas.get(key_id)
            known.behind = key_id in behind | gone_back or (former is not None and former.behind)
        # Where the CRLs of one CA went back, so did what is said of all others: of those without CRLs, and of those
        # whose key has ended, for which a replica may still answer.
        await self._announce_again(
            [key_id for key_id in keys if gone_back or key_id not in self._keys], behind | gone_back
        )
        self.cas, self._keys = cas, keys

    async def announce_missing(self) -> None:
        """Have what OCSP lacks announced again, of every CA of which it knows fewer revocations than are recorded.

        Where no CRL went back, nothing else tells that another clm_core_db answers. Raises DatabaseUnavailable.
        """
        await self._announce_again(list(self._keys), set())

    async def _announce_again(self, looked_at: list[uuid.UUID], behind: set[uuid.UUID]) -> None:
        """Have what OCSP lacks of these CAs announced again, of those that are `behind` or of which it knows fewer."""
        if not looked_at:
            return
        recorded, told = await self._revoked.counts(looked_at), await self._store.revocation_counts(looked_at)
        for key_id in looked_at:
            if key_id in behind or recorded.get(key_id, 0) > told.get(key_id, 0):
                await self._announce_missing(key_id)

    async def _announce_missing(self, key_id: uuid.UUID) -> None:
        count, after, now = 0, b"", self._clock()
        while page := await self._revoked.page(key_id, after=after, since=now):
            told = await self._store.told(key_id, [row.serial_number for row in page])
            missing = [row for row in page if told.get(row.serial_number) != row.reason_code]
            if missing:
                count += await self._revoked.announce_again(missing)
            after = page[-1].serial_number
        if count:
            name = self.rows[key_id].name
            logger.warning("%s: OCSP did not know %d of its revocations; they are announced again", name, count)

    async def due(self) -> list[Known]:
        """List the CAs of which something is due, those with new revocations first. Raises DatabaseUnavailable."""
        now = self._clock()
        signing = {key_id: known for key_id, known in self.cas.items() if known.until > now and _publishes(known)}
        if not signing:
            return []
        waiting = await self._revoked.waiting(list(signing))
        by_time = [
            key_id
            for key_id, known in signing.items()
            if key_id not in waiting and (known.behind or due_parts(known.ca.row, known.states, now=now))
        ]
        return [signing[key_id] for key_id in [*waiting, *by_time]]

    async def publish(self, known: Known) -> Published:
        """Publish what is due of one CA. Raises what `CrlPublisher.publish` raises."""
        done = await self._publisher.publish(known.ca, anew=known.behind)
        known.states, known.behind = done.states, False
        return done

    async def settle_schemes(self) -> None:
        """Say of former CRLs until when they are needed, of those that are wanted again that they are; drop the others.

        Raises DatabaseUnavailable.
        """
        now = self._clock()
        for key_id, known in self.cas.items():
            current = {shards for shards, _ in current_parts(known.ca.row)}
            for shards in {shards for shards, _ in known.states}:
                ends = {state.needed_until for (number, _), state in known.states.items() if number == shards}
                if shards in current and ends != {None}:
                    await self._store.need_until(key_id, shards, None)
                elif shards not in current and None in ends and self._is_settled(known, now):
                    await self._give_up(known, shards, now)
        if self.cas and await self._store.drop(list(self.cas), now=now):
            logger.info("former CRLs that no certificate names any more were dropped")

    async def _give_up(self, known: Known, shards: int, now: datetime) -> None:
        row = known.ca.row
        until = await self._revoked.last_expiry(row.issuer_key_id, row.organization_id) or now
        what = "complete CRL" if shards == COMPLETE[0] else f"{shards} partitions"
        logger.info("%s: its former %s will be published until %s", known.name, what, until.isoformat())
        await self._store.need_until(row.issuer_key_id, shards, max(until, now))

    @staticmethod
    def _is_settled(known: Known, now: datetime) -> bool:
        changed = known.ca.row.updated_at
        return changed is not None and now - changed > _SETTLED


def _went_back(former: Known, now: Known) -> bool:
    """Tell whether CRLs that stood are gone or older than they were: another clm_core_db answers, a replica or a copy.

    Partitions of a former scheme may go.
    """
    current = set(current_parts(now.ca.row))
    return any(
        now.states[part].crl_number < state.crl_number if part in now.states else part in current
        for part, state in former.states.items()
    )


def _issuer(row: IssuerRow, key: SigningKey) -> Issuer:
    """Read the CA as it signs. Raises ValueError."""
    # The id is not told of a certificate that is not recorded, as after a restore: nothing but an intent asks for it.
    certificate_id = key.certificate_id or key.id
    spec = KeySpec.parse(key.algorithm)
    return Issuer.from_chain((row.certificate, *row.chain), key_id=key.id, spec=spec, certificate_id=certificate_id)


def _publishes(known: Known) -> bool:
    return known.ca.row.crl_enabled or bool(known.states)
