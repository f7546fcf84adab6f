"""Takes tokens of the Policies' quotas, in the transaction that writes the intents: one row lock a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.resources.quotas import Bucket

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from clm.resources.quotas import Quota
    from clm.resources.records import Intent
    from clm.storage.database import Connection

_OPEN = """
INSERT INTO clm_work.issuance_quotas (organization_id, cluster_id, policy_uid, namespace, tokens, refilled_at)
VALUES (%(organization_id)s, %(cluster_id)s, %(policy_uid)s, %(namespace)s, %(tokens)s, %(at)s)
ON CONFLICT DO NOTHING
"""

_LOCK = """
SELECT tokens, refilled_at FROM clm_work.issuance_quotas
WHERE organization_id = %(organization_id)s AND cluster_id = %(cluster_id)s AND policy_uid = %(policy_uid)s
  AND namespace = %(namespace)s
FOR UPDATE
"""

_SPEND = """
UPDATE clm_work.issuance_quotas SET tokens = %(tokens)s, refilled_at = %(at)s
WHERE organization_id = %(organization_id)s AND cluster_id = %(cluster_id)s AND policy_uid = %(policy_uid)s
  AND namespace = %(namespace)s
"""


class Refused(NamedTuple):
    """There was no token; there may be one at `until`, None: never."""

    until: datetime | None


class _Key(NamedTuple):
    organization_id: uuid.UUID
    cluster_id: uuid.UUID
    policy_uid: uuid.UUID
    namespace: str


async def take_tokens(connection: Connection, intents: Sequence[Intent]) -> list[Refused | None]:
    """Take a token for each intent, in order; None where it has one. The transaction must be open."""
    wanted: dict[_Key, list[tuple[int, Quota]]] = {}
    refused: list[Refused | None] = [None] * len(intents)
    for place, intent in enumerate(intents):
        if intent.quota is None:
            continue
        if intent.quota.per_hour == 0:
            # The bucket is left as it is: a Policy that grants something again is not to begin with an empty one.
            refused[place] = None if intent.quota.may_overdraw else Refused(None)
        else:
            wanted.setdefault(_key(intent, intent.quota), []).append((place, intent.quota))
    # Always in the same order: two operators that want the same rows do not wait for each other.
    for key in sorted(wanted):
        for place, refusal in await _take(connection, key, wanted[key]):
            refused[place] = refusal
    return refused


async def _take(
    connection: Connection, key: _Key, wanted: Sequence[tuple[int, Quota]]
) -> list[tuple[int, Refused | None]]:
    quota = wanted[0][1]
    row = {**key._asdict(), "tokens": quota.per_hour, "at": quota.at}
    await connection.execute(_OPEN, row)
    found = await (await connection.execute(_LOCK, row)).fetchone()
    bucket = Bucket(*found) if found else Bucket(0.0, quota.at)
    outcome: list[tuple[int, Refused | None]] = []
    turned_away = 0
    for place, wish in wanted:
        bucket = bucket.refilled(wish.per_hour, wish.at)
        if wish.may_overdraw or bucket.has_one():
            bucket = bucket.spent(wish.per_hour)
            outcome.append((place, None))
        else:
            outcome.append((place, Refused(bucket.next_at(wish.per_hour, before=turned_away))))
            turned_away += 1
    await connection.execute(_SPEND, {**row, "tokens": bucket.tokens, "at": bucket.refilled_at})
    return outcome


def _key(intent: Intent, quota: Quota) -> _Key:
    return _Key(intent.organization_id, intent.owner.cluster_id, quota.policy_uid, quota.namespace)
