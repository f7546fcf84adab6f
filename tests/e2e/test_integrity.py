"""The operator compares the worlds by itself: what it finds is in its metrics and in a report that stays."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import World

_LABEL = "nobody-s"
_SERIES = re.compile(r'^clm_integrity_findings\{kind="(?P<kind>[a-z-]+)",world="(?P<world>[a-z]+)"\} (?P<value>\S+)$')


@pytest.fixture
def comparing_world(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world, with an operator that compares every second instead of every hour."""
    monkeypatch.setenv("CLM_INTEGRITY_FIRST_S", "0.1")
    monkeypatch.setenv("CLM_INTEGRITY_INTERVAL_S", "1")
    world.restart_controller()
    yield world
    monkeypatch.undo()
    world.restart_controller()


def _found(world: World) -> dict[tuple[str, str], float]:
    """What the metrics say of the last comparison."""
    url = f"http://127.0.0.1:{world.settings['CLM_HEALTH_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    series = [found for line in lines if (found := _SERIES.match(line))]
    return {(found["world"], found["kind"]): float(found["value"]) for found in series}


def _last(world: World) -> dict[str, Any]:
    done = world.program("clm.cli.main", "check", "--last", "-o", "json")
    assert done.returncode in {0, 1}, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _stranger(world: World, what: str) -> int:
    done = world.program("tests.e2e.stranger", what, _LABEL)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _runs_by_itself(world: World) -> None:
    runs = world.metrics["clm_integrity_seconds"]
    wait(lambda: True if world.metrics["clm_integrity_seconds"] != runs else None, "another comparison")


def test_what_is_not_as_recorded_is_in_the_metrics_and_the_report(comparing_world: World, namespace: str) -> None:
    """A row without a record, a status that was edited: found within a round, named, and gone once they are mended."""
    world = comparing_world
    world.apply(certificate(namespace, "web"))
    body = world.wait_ready(namespace, "web")
    world.settled(body)
    copied = uuid.uuid4()
    world.query(
        "core",
        "INSERT INTO certificate_metadata (id, organization_id, cluster_id, resource_uid, namespace, name, revision,"
        " policy_name, issuer_key_id, serial_number, fingerprint_sha256, key_algorithm, not_before, not_after)"
        " SELECT %(id)s, organization_id, cluster_id, %(id)s, namespace, 'ghost', 1, policy_name, issuer_key_id,"
        " substr(fingerprint_sha256, 1, 16), sha256(fingerprint_sha256), key_algorithm, not_before, not_after"
        " FROM certificate_metadata WHERE id = %(known)s",
        id=copied,
        known=body["status"]["certificateId"],
    )
    world.query(
        "core",
        "UPDATE certificate_metadata SET status = 'superseded' WHERE id = %(id)s",
        id=body["status"]["certificateId"],
    )
    expected = {("core", "reference-dangling"): 1.0, ("core", "inventory-differs"): 1.0}
    wait(lambda: True if _found(world) == expected else None, "both to be found", last=lambda: str(_found(world)))
    report = wait(lambda: found if (found := _last(world))["total"] == 2 else None, "both to be in the report")
    assert {(finding["kind"], finding["object"].split()[0]) for finding in report["findings"]} == {
        ("reference-dangling", f"{namespace}/ghost"),
        ("inventory-differs", f"{namespace}/web"),
    }
    assert not report["openedKeys"]
    world.query("core", "DELETE FROM certificate_metadata WHERE id = %(id)s", id=copied)
    assert world.program("clm.cli.main", "check", "--repair", "--skip-keys").returncode == 1
    wait(lambda: True if _found(world) == {} else None, "nothing to be found", last=lambda: str(_found(world)))


def test_a_key_without_an_owner_is_quarantined_and_never_destroyed(comparing_world: World) -> None:
    """It is noted once, reported each time with since when, and stays in the token; once it is gone that is noted."""
    world = comparing_world
    assert _stranger(world, "make") == 1
    expected = {("token", "object-orphaned"): 1.0}
    wait(lambda: True if _found(world) == expected else None, "it to be found", last=lambda: str(_found(world)))
    _runs_by_itself(world)
    noted = world.query("secure", "SELECT * FROM clm_work.quarantined_objects WHERE label = %(label)s", label=_LABEL)
    assert [(row["cka_id"], row["object_class"], row["gone_at"]) for row in noted] == [
        (b"\x01\x02", "SECRET_KEY", None)
    ]
    assert noted[0]["last_seen_at"] > noted[0]["first_seen_at"]
    acts = world.query("secure", "SELECT count(*) AS number FROM secure_audit_log WHERE action = 'key.quarantine'")
    assert acts == [{"number": 1}]
    assert _stranger(world, "remove") == 1
    gone = "SELECT 1 FROM clm_work.quarantined_objects WHERE label = %(label)s AND gone_at IS NOT NULL"
    wait(lambda: world.query("secure", gone, label=_LABEL) or None, "its going to be noted")
    wait(lambda: True if _found(world) == {} else None, "nothing to be found", last=lambda: str(_found(world)))
