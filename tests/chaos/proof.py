"""What must hold after everything: the promises, as questions to the three worlds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.chaos.world import World

# Each counts what must not be.
_SECURE = {
    "pending intents": "SELECT count(*) FROM certificate_requests WHERE state = 'pending'",
    "requests without a certificate": """
        SELECT count(*) FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id
        WHERE c.id IS NULL""",
    "revisions recorded twice": """
        SELECT count(*) FROM (SELECT 1 FROM certificates GROUP BY cluster_id, resource_uid, revision
        HAVING count(*) > 1) twice""",
    "serials used twice": """
        SELECT count(*) FROM (SELECT 1 FROM certificates GROUP BY issuer_key_id, serial_number
        HAVING count(*) > 1) twice""",
    "gaps in revisions": """
        SELECT count(*) FROM (SELECT 1 FROM certificate_requests GROUP BY resource_uid
        HAVING max(revision) <> count(*)) gaps""",
    "objects with several live certificates": """
        SELECT count(*) FROM (SELECT 1 FROM certificates WHERE state = 'active' GROUP BY resource_uid
        HAVING count(*) > 1) several""",
    "private keys without a request": """
        SELECT count(*) FROM private_keys k LEFT JOIN certificate_requests r ON r.private_key_id = k.id
        WHERE r.id IS NULL""",
    "certificates that were never audited": """
        SELECT count(*) FROM certificates c WHERE NOT EXISTS (SELECT FROM secure_audit_log a
        WHERE a.object_id = c.id::text AND a.action IN ('certificate.issue', 'certificate.supersede'))""",
    "revoked certificates without a revocation": """
        SELECT count(*) FROM certificates c LEFT JOIN certificate_revocations r ON r.certificate_id = c.id
        WHERE (c.state = 'revoked') <> (r.id IS NOT NULL)""",
    "revocations that were not audited once": """
        SELECT count(*) FROM certificate_revocations r WHERE r.reason_code <> 1 AND (SELECT count(*)
        FROM secure_audit_log a WHERE a.object_id = r.certificate_id::text AND a.action = 'certificate.revoke') <> 1""",
    "certificates that stand on a compromised key": """
        SELECT count(*) FROM certificates c JOIN private_keys k ON k.id = c.private_key_id
        WHERE k.state = 'compromised' AND c.state <> 'revoked'""",
    "unpublished certificates": "SELECT count(*) FROM clm_work.outbox",
    "unfinished keys": "SELECT count(*) FROM encryption_keys WHERE state = 'generating'",
}
_CORE = {
    "revisions in the inventory twice": """
        SELECT count(*) FROM (SELECT 1 FROM certificate_metadata GROUP BY cluster_id, resource_uid, revision
        HAVING count(*) > 1) twice""",
    "inventory rows that were never audited": """
        SELECT count(*) FROM certificate_metadata m WHERE NOT EXISTS (SELECT FROM audit_log a
        WHERE a.object_id = m.id::text)""",
}


def broken_promises(world: World) -> list[str]:
    """Ask every question. Returns what does not hold, in words; nothing when all does."""
    found = _count(world.settings["CLM_SECURE_DSN"], _SECURE) + _count(world.settings["CLM_CORE_DSN"], _CORE)
    return found + _compare_worlds(world)


def not_ended(world: World, names: Collection[str]) -> list[str]:
    """Name what was revoked by its object, or deleted to be revoked, and has a certificate that still counts."""
    query = "SELECT DISTINCT name FROM certificates WHERE name = ANY(%s) AND state <> 'revoked'"
    with psycopg.connect(world.settings["CLM_SECURE_DSN"]) as connection:
        return [f"{row[0]} has a certificate that is not revoked" for row in connection.execute(query, [list(names)])]


def unfinished(world: World) -> int:
    """Count what the operator still has to bring to its end."""
    questions = ("pending intents", "unpublished certificates", "unfinished keys")
    with psycopg.connect(world.settings["CLM_SECURE_DSN"]) as connection:
        return sum(_number(connection, _SECURE[question]) for question in questions)


def key_state(world: World, name: str) -> str | None:
    """State of the CA key of the Certificate of that name; None before it has a row."""
    query = "SELECT state FROM encryption_keys WHERE name = %s ORDER BY version DESC LIMIT 1"
    with psycopg.connect(world.settings["CLM_SECURE_DSN"]) as connection:
        row = connection.execute(query, [name]).fetchone()
        return None if row is None else str(row[0])


def totals(world: World) -> dict[str, int]:
    """Count what there is."""
    with psycopg.connect(world.settings["CLM_SECURE_DSN"]) as connection:
        return {
            "certificates": _number(connection, "SELECT count(*) FROM certificates"),
            "keys in the token": _number(connection, "SELECT count(*) FROM encryption_keys"),
            "private keys": _number(connection, "SELECT count(*) FROM private_keys"),
            "signed again after a crash": _number(
                connection,
                "SELECT count(DISTINCT object_id) FROM secure_audit_log WHERE action = 'certificate.sign'",
            ),
            "renewed": _number(connection, "SELECT count(*) FROM certificate_requests WHERE reason = 'manual'"),
        }


def _count(dsn: str, questions: dict[str, str]) -> list[str]:
    with psycopg.connect(dsn) as connection:
        counts = {name: _number(connection, query) for name, query in questions.items()}
    return [f"{number} {name}" for name, number in counts.items() if number]


def _number(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _compare_worlds(world: World) -> list[str]:
    # With the operator's own rights, as a person would run it beside the operator.
    done = subprocess.run(
        [sys.executable, "-m", "clm.cli.main", "check", "-o", "json"],
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode not in (0, 1):
        return [f"clm check failed: {done.stderr.strip()[-500:]}"]
    report = json.loads(done.stdout)
    return [f"{finding['world']}: {finding['object']}: {finding['problem']}" for finding in report["findings"]]
