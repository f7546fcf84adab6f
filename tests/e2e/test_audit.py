"""With the operator running, records get sealed and the anchor follows; a restart with nothing new writes nothing."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from clm.dev.databases import DevDatabase
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from clm.resources.seals import LedgerName
    from tests.e2e.world import World

ANCHOR = "/api/v1/namespaces/clm-system/configmaps/clm-audit-anchor"
DATABASES: dict[str, LedgerName] = {"clm_secure_db": "secure", "clm_core_db": "core"}
TABLES: dict[LedgerName, str] = {"secure": "secure_audit_log", "core": "audit_log"}


def _anchors(world: World) -> dict[str, str]:
    status, text = world.api.text("GET", ANCHOR)
    return dict(json.loads(text)["data"]) if status == 200 else {}


def _newest(world: World, database: LedgerName) -> str:
    rows = world.query(database, "SELECT note FROM clm_audit.seals ORDER BY batch DESC LIMIT 1")
    return str(rows[0]["note"]) if rows else ""


def _anchored(world: World) -> bool | None:
    """Whether everything is sealed and the anchor says so."""
    anchors = _anchors(world)
    unsealed = "SELECT count(*) FROM {} WHERE txid >= (SELECT to_xid FROM clm_audit.seals ORDER BY batch DESC LIMIT 1)"
    for database, name in DATABASES.items():
        if world.query(name, unsealed.format(TABLES[name]))[0]["count"] or anchors.get(database) != _newest(
            world, name
        ):
            return None
    return True


def _metric(world: World, name: str) -> dict[str, float]:
    url = f"http://127.0.0.1:{world.settings['CLM_HEALTH_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(f"{name}{{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}


def test_records_are_sealed_and_anchored(world: World, namespace: str) -> None:
    """What is issued is sealed in both databases, by one key of the token, and anchored in the ConfigMap."""
    world.api.create(certificate(namespace, "sealed"))
    world.wait_ready(namespace, "sealed")
    wait(lambda: _anchored(world), "both logs to be sealed and anchored", timeout_s=90)
    assert "BEGIN PUBLIC KEY" in _anchors(world)["public-key.pem"]
    keys = {name: world.query(name, "SELECT id FROM clm_audit.sealing_keys") for name in DATABASES.values()}
    assert keys["secure"] == keys["core"]
    (key,) = world.query("secure", "SELECT id, state FROM encryption_keys WHERE purpose = 'audit-sealing'")
    assert (key["state"], [{"id": key["id"]}]) == ("active", keys["core"])
    assert _metric(world, "clm_audit_seal_refused") == {"clm_secure_db": 0.0, "clm_core_db": 0.0}
    assert set(_metric(world, "clm_audit_seal_lag_seconds")) == set(DATABASES)


def test_acts_of_the_process(world: World) -> None:
    """Stop, start and the making of partitions are on the record."""
    counted = "SELECT count(*) FROM secure_audit_log WHERE action = 'controller.{}'"
    before = {act: world.query("secure", counted.format(act))[0]["count"] for act in ("start", "stop")}
    world.stop_controller()
    world.start_controller()
    for act, number in before.items():
        assert world.query("secure", counted.format(act))[0]["count"] == number + 1
    for name, table in TABLES.items():
        (made,) = world.query(name, f"SELECT details FROM {table} WHERE action = 'audit.partition'")
        assert len(made["details"]["partitions"]) == 13


def test_verified_from_outside(world: World) -> None:
    """The command proves both logs, by the key and the checkpoints that the cluster keeps."""
    wait(lambda: _anchored(world), "both logs to be sealed and anchored")
    done = world.program("clm.cli.main", "audit", "verify", "--anchor", "configmap", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    reports = json.loads(done.stdout)
    assert [(report["database"], report["problems"]) for report in reports] == [(name, []) for name in DATABASES]
    assert all(report["anchoredBatch"] and not report["keysFromDatabase"] for report in reports)


def test_rolled_back_log_is_not_sealed_over(world: World, namespace: str) -> None:
    """A log that is behind its anchor is told and left alone, and issuance goes on; a person can accept it."""
    wait(lambda: _anchored(world), "both logs to be sealed and anchored")
    world.stop_controller()
    _cut(world, "core")
    world.start_controller()
    wait(lambda: _metric(world, "clm_audit_seal_refused").get("clm_core_db") or None, "the log to be refused")
    world.api.create(certificate(namespace, "meanwhile"))
    world.wait_ready(namespace, "meanwhile")
    assert "THE AUDIT LOG IS NOT SEALED" in world.log
    assert _metric(world, "clm_audit_seal_refused")["clm_secure_db"] == 0.0
    (refusal,) = world.query("core", "SELECT outcome, reason FROM audit_log WHERE action = 'audit.seal-refuse'")
    assert refusal["outcome"] == "denied"
    assert "rolled back or cut" in refusal["reason"]
    found = world.program("clm.cli.main", "audit", "verify", "--database", "core", "--anchor", "configmap")
    assert found.returncode == 1
    assert "rolled back or cut" in found.stdout.replace("\n", " ")

    resume = ("audit", "resume", "--database", "core", "--reason", "restored from yesterday's backup", "--yes")
    done = world.program("clm.cli.main", *resume)
    assert done.returncode == 0, done.stderr
    wait(lambda: _anchored(world), "the log to be sealed and anchored again")
    assert world.program("clm.cli.main", "audit", "verify", "--anchor", "configmap").returncode == 0
    (accepted,) = world.query("core", "SELECT reason FROM audit_log WHERE action = 'audit.resume'")
    assert accepted["reason"] == "restored from yesterday's backup"
    assert "clm_core_db.superseded.1" in _anchors(world)
    assert world.program("clm.cli.main", *resume).returncode == 1

    # A second time: the first anchor that was given up stays.
    first = _anchors(world)["clm_core_db.superseded.1"]
    world.stop_controller()
    _cut(world, "core")
    world.start_controller()
    wait(lambda: _metric(world, "clm_audit_seal_refused").get("clm_core_db") or None, "the log to be refused again")
    done = world.program("clm.cli.main", *resume)
    assert done.returncode == 0, done.stderr
    wait(lambda: _anchored(world), "the log to be sealed and anchored once more")
    anchors = _anchors(world)
    assert anchors["clm_core_db.superseded.1"] == first
    assert anchors["clm_core_db.superseded.2"] not in {first, ""}


def _cut(world: World, database: LedgerName) -> None:
    """Take the newest seal away, as a superuser can."""
    world.query(database, "ALTER TABLE clm_audit.seals DISABLE TRIGGER ALL")
    world.query(database, "DELETE FROM clm_audit.seals WHERE batch = (SELECT max(batch) FROM clm_audit.seals)")
    world.query(database, "ALTER TABLE clm_audit.seals ENABLE TRIGGER ALL")
    for trigger in ("seals_only_added", "seals_not_emptied"):
        world.query(database, f"ALTER TABLE clm_audit.seals ENABLE ALWAYS TRIGGER {trigger}")


def test_archived_by_the_token(world: World, tmp_path: Path) -> None:
    """A month goes into files that the token signs, and out of the database; all of it stays proven."""
    part = "clm_audit_parts.audit_log_2020_05"
    world.query(
        "core",
        f"CREATE TABLE {part} PARTITION OF audit_log FOR VALUES FROM ('2020-05-01 00:00Z') TO ('2020-06-01 00:00Z')",
    )
    world.query("core", f"ALTER TABLE {part} OWNER TO clm_owner")
    world.query(
        "core",
        "INSERT INTO audit_log (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id)"
        " SELECT '2020-05-05', gen_random_uuid(), 'system', 'test', 'key.generate', 'key', 'old'"
        " FROM generate_series(1, 10)",
    )
    wait(lambda: _anchored(world), "the month to be sealed")
    database = DevDatabase(world.environment.state, "core")
    dsn = database.cluster().dsn(database.database, "clm_archiver")
    archive = ("audit", "archive", "--database", "core", "--dsn", dsn, "--month", "2020-05", "--to", str(tmp_path))
    assert world.program("clm.cli.main", *archive).returncode == 2
    anchored = (*archive, "--anchor", "configmap")
    for _ in range(2):
        done = world.program("clm.cli.main", *anchored)
        assert done.returncode == 0, done.stderr
    done = world.program("clm.cli.main", *anchored, "--drop")
    assert "10 records were dropped" in done.stdout, done.stderr
    assert world.query("core", f"SELECT to_regclass('{part}') AS found") == [{"found": None}]
    wait(lambda: _anchored(world), "the archiving to be sealed")
    done = world.program("clm.cli.main", "audit", "verify", "--anchor", "configmap", "--archive", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "10 archived" in done.stdout


def test_refused_pin_is_recorded(world: World) -> None:
    """A PIN that the token refuses is on the record, once, whatever it takes until the right one is there."""
    refused = "SELECT outcome, object_id FROM secure_audit_log WHERE action = 'hsm.login'"
    before = len(world.query("secure", refused))
    pin_file = Path(world.settings["CLM_TOKEN_PIN_FILE"])
    right = pin_file.read_text(encoding="utf-8")
    world.stop_controller()
    _replace(pin_file, "0000-wrong\n")
    starting = Thread(target=world.start_controller)
    starting.start()
    try:
        wait(lambda: True if len(world.query("secure", refused)) > before else None, "the refusal to be recorded")
    finally:
        _replace(pin_file, right)
        starting.join()
    assert world.query("secure", refused)[before:] == [{"outcome": "failure", "object_id": "clm-dev"}]


def _replace(file: Path, text: str) -> None:
    """Put another file in its place, as a mounted Secret is replaced."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
