"""Looking for records by what people know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from clm.storage.ledger import search_records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.resources.seals import LedgerName


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for; what is None does not matter. `action` and `object_id` may end with ``*``."""

    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    actor: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    def conditions(self) -> list[sql.Composable]:
        """The same for the database."""
        found: list[sql.Composable] = []
        for column, value in (("action", self.action), ("object_id", self.object_id)):
            if value is not None:
                found.append(_like(column, value))
        for column, value in (("object_type", self.object_type), ("actor_id", self.actor), ("outcome", self.outcome)):
            if value is not None:
                found.append(sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value)))
        if self.since is not None:
            found.append(sql.SQL("occurred_at >= {}::timestamptz").format(sql.Literal(self.since.isoformat())))
        if self.until is not None:
            found.append(sql.SQL("occurred_at < {}::timestamptz").format(sql.Literal(self.until.isoformat())))
        if self.text is not None:
            within = sql.SQL("concat_ws(' ', object_id, reason, on_behalf_of, request_id, details::text)")
            found.append(sql.SQL("strpos(lower({}), lower({})) > 0").format(within, sql.Literal(self.text)))
        return found


def search(dsn: str, ledger: LedgerName, query: Query, *, limit: int) -> list[Mapping[str, Any]]:
    """Records of one log, newest first. Raises DatabaseUnavailable, AuditFailed."""
    return search_records(dsn, ledger, query.conditions(), limit=limit)


def _like(column: str, value: str) -> sql.Composed:
    if not value.endswith("*"):
        return sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
    return sql.SQL("starts_with({}, {})").format(sql.Identifier(column), sql.Literal(value[:-1]))
