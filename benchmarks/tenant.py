"""What row-level security costs a tenant: counts under it beside the same counts with the organization in WHERE.

    python -m benchmarks.tenant [--rows 400000] [--organizations 200] [--rounds 200]

Both run on one connection in turn, so that what else the machine does meets both. Prints the medians and their ratio.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, USERS, Access
from clm.dev.postgres_binaries import find_postgres
from clm.dev.postgres_users import provision
from clm.storage.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

DATABASE = "clm_core_db"
ADMITTED = 1.2

_FILL = """
INSERT INTO certificate_metadata
    (id, organization_id, cluster_id, resource_uid, namespace, name, revision, policy_name, issuer_key_id,
     serial_number, fingerprint_sha256, common_name, key_algorithm, not_before, not_after)
SELECT gen_random_uuid(), lpad(to_hex(n %% %(organizations)s), 32, '0')::uuid, gen_random_uuid(), gen_random_uuid(),
       'shop', 'web', 1, 'internal', '00000000-0000-0000-0000-000000000001', int8send(n),
       sha256(int4send(n)), 'web-' || n, 'ECDSA-256', now(), now() + interval '90 days'
FROM generate_series(1, %(rows)s) AS n
"""
_COUNTS = {
    "count of certificates": "SELECT count(*) FROM certificate_metadata",
    "count of those that expire": "SELECT count(*) FROM certificate_metadata WHERE not_after < now() + interval '91 d'",
    "count by a name": "SELECT count(*) FROM certificate_metadata WHERE common_name LIKE 'web-1%'",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--organizations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with _database(arguments.rows, arguments.organizations) as connection:
        for name, query in _COUNTS.items():
            explicit, secured = _medians(connection, query, arguments.rounds)
            ratio = secured / explicit
            verdict = "met" if ratio <= ADMITTED else "missed"
            print(
                f"{name:28} WHERE {explicit * 1e3:8.3f} ms  RLS {secured * 1e3:8.3f} ms  ratio {ratio:5.2f}"
                f"  at most {ADMITTED}: {verdict}"
            )


def _medians(connection: Connection, query: str, rounds: int) -> tuple[float, float]:
    """Seconds with the organization in WHERE, as who sees all, and under row-level security, as the API."""
    organization = uuid.UUID(int=7)
    explicit = f"{query} {'AND' if 'WHERE' in query else 'WHERE'} organization_id = '{organization}'"
    connection.execute("SELECT set_config('clm.organization', %s, false)", [str(organization)])
    seconds: dict[str, list[float]] = {explicit: [], query: []}
    results = set()
    for number in range(rounds + 2):
        for statement, role in ((explicit, "postgres"), (query, "clm_api")):
            connection.execute(f"SET ROLE {role}".encode())
            began = time.perf_counter()
            results.add(connection.execute(statement.encode()).fetchone())
            if number >= 2:  # noqa: PLR2004 - the first two warm the caches
                seconds[statement].append(time.perf_counter() - began)
    if len(results) != 1:
        raise SystemExit(f"the counts differ: {results}")
    return statistics.median(seconds[explicit]), statistics.median(seconds[query])


@contextmanager
def _database(rows: int, organizations: int) -> Iterator[Connection]:
    folder = Path(tempfile.mkdtemp(prefix="clm-tenant-"))
    folder.chmod(0o755)
    binaries = find_postgres(os.environ, embedded_copy=folder / "embedded")
    access = Access(folder / "core", USERS["core"], databases=(DATABASE,))
    cluster = PostgresCluster(folder / "core", binaries, folder / "core.log", access)
    try:
        cluster.start()
        provision(cluster, DATABASE)
        migrate(cluster.dsn(DATABASE, MIGRATOR), "core")
        with psycopg.connect(cluster.superuser_dsn(DATABASE), autocommit=True, prepare_threshold=None) as connection:
            connection.execute(_FILL, {"rows": rows, "organizations": organizations})
            connection.execute("VACUUM ANALYZE certificate_metadata")
            yield connection
    finally:
        cluster.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
