"""What is dear for some Certificates does not hold up the others."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from clm.settings import Settings
from tests.e2e import openssl
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.world import World

_ORDER = """
SELECT count(*) AS before FROM certificates
WHERE namespace = %(namespace)s AND created_at > %(since)s AND created_at < (
    SELECT created_at FROM certificates WHERE namespace = %(namespace)s AND name = 'quick')
"""


def test_rsa_keys_do_not_hold_up_other_certificates(world: World, namespace: str) -> None:
    """More RSA-4096 Certificates than there are workers come first; a P-256 one passes nearly all of them."""
    default = next(field.default for field in fields(Settings) if field.name == "reconcile_workers")
    workers = int(world.settings.get("CLM_RECONCILE_WORKERS", str(default)))
    for number in range(workers + 36):
        world.apply(certificate(namespace, f"dear-{number:03d}", privateKey={"algorithm": "RSA", "size": 4096}))
    since = world.query("secure", "SELECT clock_timestamp() AS now")[0]["now"]
    world.apply(certificate(namespace, "quick"))
    world.wait_ready(namespace, "quick", timeout_s=120)
    # If workers waited for keys, more than 36 would have to be made before one is free for this.
    assert world.query("secure", _ORDER, namespace=namespace, since=since)[0]["before"] < 12

    def look() -> str | None:
        rows = world.query(
            "secure", "SELECT name FROM certificates WHERE namespace = %(it)s AND name <> 'quick'", it=namespace
        )
        return str(rows[0]["name"]) if rows else None

    name = wait(look, "the first RSA certificate", timeout_s=60)
    world.wait_ready(namespace, name)
    openssl.key_fits(world.secret(namespace, f"{name}-tls"))
