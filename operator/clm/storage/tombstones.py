"""Tombstones of persons whose data were erased: the same table in both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

INSERT = """
INSERT INTO clm_meta.erasure_tombstones (organization_id, subject_id, erased_at, reason, actor_id, name_digest)
VALUES (%(organization_id)s, %(subject_id)s, %(erased_at)s, %(reason)s, %(actor_id)s,
        %(name_digest)s)
ON CONFLICT (subject_id) DO NOTHING
"""

SELECT = """
SELECT organization_id, subject_id, erased_at, reason, actor_id, name_digest
FROM clm_meta.erasure_tombstones ORDER BY erased_at
"""


class Tombstone(NamedTuple):
    """That a person's data were erased; what a restore brings back of them goes again.

    `name_digest` is the login name as `clm.resources.pseudonyms.name_digest` gives it; None where nobody knew it.
    """

    organization_id: uuid.UUID
    subject_id: uuid.UUID
    erased_at: datetime
    reason: str
    actor_id: str
    name_digest: bytes | None = None
