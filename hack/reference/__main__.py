"""`hack/schema-reference`: writes the generated pages anew, from databases that it makes and removes."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, USERS, Access
from clm.dev.postgres_binaries import find_postgres
from clm.dev.postgres_users import provision
from clm.storage.migrations import migrate
from hack.reference.catalog import Catalog, read_catalog
from hack.reference.documents import DATABASES, ROOT, documents

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _server() -> Iterator[PostgresCluster]:
    with tempfile.TemporaryDirectory(prefix="clm-docs-") as folder:
        root = Path(folder)
        # Root starts the server as another user, who has to reach it.
        root.chmod(0o755)
        binaries = find_postgres(os.environ, embedded_copy=root / "embedded")
        access = Access(root / "postgres", tuple(dict.fromkeys((*USERS["secure"], *USERS["core"]))))
        cluster = PostgresCluster(root / "postgres", binaries, root / "postgres.log", access)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _catalogs(cluster: PostgresCluster) -> dict[str, Catalog]:
    catalogs: dict[str, Catalog] = {}
    for short, name in DATABASES.items():
        provision(cluster, name)
        migrate(cluster.dsn(name, MIGRATOR), short)
        with psycopg.connect(cluster.superuser_dsn(name)) as connection:
            catalogs[short] = read_catalog(connection, name)
    return catalogs


def main() -> None:
    """Write what differs, and tell of it."""
    with _server() as cluster:
        pages = documents(_catalogs(cluster))
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
