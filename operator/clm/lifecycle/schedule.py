"""Moves when a certificate falls due, in both databases.

First the inventory, which people look at; last clm_secure_db, which decides, and with which the spec is compared again
until the two agree. So a crash in between is made up for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from clm.storage.core.metadata import MetadataStore
    from clm.storage.secure.renewals import RenewalStore


class Schedule:
    """When certificates are renewed by time."""

    def __init__(self, *, renewals: RenewalStore, metadata: MetadataStore) -> None:
        self._renewals = renewals
        self._metadata = metadata

    async def move(self, certificate_id: uuid.UUID, due_at: datetime | None) -> None:
        """Have an active certificate fall due then; None: by time it never does. Raises DatabaseUnavailable."""
        await self._metadata.reschedule(certificate_id, due_at)
        await self._renewals.reschedule(certificate_id, due_at)
