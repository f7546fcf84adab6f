"""SQL in the pages runs as the user that the page names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import psycopg
import pytest

from tests.docs.pages import PAGES, ROOT, Fence, fences, name_of

if TYPE_CHECKING:
    from pathlib import Path

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair

_MARK = re.compile(r"sql: (secure|core) as (\w+)")
HAND_WRITTEN = [page for page in PAGES if page != ROOT / "docs" / "schema-reference.md"]
BLOCKS = [(page, fence) for page in HAND_WRITTEN for fence in fences(page) if fence.language == "sql"]


@pytest.mark.parametrize(
    ("page", "fence"), BLOCKS, ids=lambda value: name_of(value) if hasattr(value, "stem") else None
)
def test_statements_run(migrated: DatabasePair, page: Path, fence: Fence) -> None:
    """Every block is marked with a database and a user, who may do all that is in it, in one transaction."""
    match = _MARK.fullmatch(fence.mark)
    assert match is not None, f"{name_of(page)}: {fence.text}"
    with psycopg.connect(migrated.dsn(cast("DatabaseName", match[1]), match[2])) as connection:
        for statement in filter(str.strip, fence.text.split(";\n")):
            connection.execute(statement.encode())
        connection.rollback()


def test_there_are_some() -> None:
    """The marks are found."""
    assert BLOCKS
