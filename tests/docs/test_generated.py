"""The generated pages say what the databases, the settings and the code are now."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING

import psycopg
import pytest

from hack.reference import catalog
from hack.reference import documents as generator
from hack.reference.catalog import read_catalog
from hack.reference.companion import Query, read_companion
from hack.reference.documents import DATABASES, DOCS, ROOT, documents

if TYPE_CHECKING:
    from types import ModuleType

    from clm.storage.migration_files import DatabaseName
    from hack.reference.catalog import Catalog
    from tests.fix_postgres import DatabasePair

QUERIES: list[tuple[DatabaseName, Query]] = [
    (name, query)
    for name in DATABASES
    for notes in read_companion(DOCS / "schema-reference.d" / f"{name}.yaml").values()
    for query in notes.queries
]


def test_pages_are_as_they_would_be_made_now(migrated: DatabasePair) -> None:
    """No page is older than what it tells about."""
    catalogs: dict[str, Catalog] = {}
    for short, name in DATABASES.items():
        with psycopg.connect(migrated.superuser_dsn(short)) as connection:
            catalogs[short] = read_catalog(connection, name)
    old = [
        str(path.relative_to(ROOT))
        for path, text in documents(catalogs).items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert old == [], "run hack/schema-reference, and commit what it writes"


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=lambda value: getattr(value, "title", None))
def test_queries_of_the_reference_run(migrated: DatabasePair, name: DatabaseName, query: Query) -> None:
    """Every query of the reference is one that its role may ask."""
    with psycopg.connect(migrated.dsn(name, query.role)) as connection:
        assert connection.execute(query.sql.encode()).description
        connection.rollback()


@pytest.mark.parametrize("module", [catalog, generator], ids=lambda module: module.__name__)
def test_examples_in_the_generator(module: ModuleType) -> None:
    """What its docstrings show is so."""
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
