"""What the catalog cannot tell: the shape of JSON columns, and how the tables are asked. Written by hand, in YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it is typed, and the role that it is for."""

    title: str
    role: str
    sql: str


@dataclass(frozen=True, slots=True)
class Notes:
    """Of one table or view: what is in each JSON column, and its usual queries."""

    json: dict[str, str] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)


def read_companion(path: Path) -> dict[str, Notes]:
    """Read the notes of one database, by table."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        table: Notes(
            json={column: text.strip() for column, text in notes.get("json", {}).items()},
            queries=[Query(query["title"], query["role"], query["sql"].strip()) for query in notes.get("queries", [])],
        )
        for table, notes in content.items()
    }
