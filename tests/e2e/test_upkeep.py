"""The daily round of the operator, and the commands around the life of data, on the whole system."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World

_SETTINGS = {
    "CLM_INTEGRITY_FIRST_S": "0.1",
    "CLM_RETENTION_INTERVAL_S": "1",
    "CLM_RETENTION_SUPERSEDED_KEYS_DAYS": "0",
}


@pytest.fixture
def tidy_world(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world, with an operator that makes its round every second and keeps no superseded key."""
    for name, value in _SETTINGS.items():
        monkeypatch.setenv(name, value)
    world.restart_controller()
    yield world
    monkeypatch.undo()
    world.restart_controller()


def _key_state(world: World, key_id: uuid.UUID) -> dict[str, Any]:
    statement = "SELECT state, ciphertext IS NULL AS empty FROM private_keys WHERE id = %(id)s"
    return world.query("secure", statement, id=key_id)[0]


def test_the_key_of_a_superseded_certificate_is_destroyed_and_nothing_else(tidy_world: World, namespace: str) -> None:
    """The record of both certificates stays, the new key goes on to be published, and a lost Secret comes back."""
    world = tidy_world
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    world.apply(certificate(namespace, "web", dnsNames=["other.example.com"]))
    body = world.wait_ready(namespace, "web")
    old, new = world.settled(body)
    destroyed = {"state": "destroyed", "empty": True}
    wait(lambda: True if _key_state(world, old["private_key_id"]) == destroyed else None, "the old key to be destroyed")
    assert _key_state(world, new["private_key_id"]) == {"state": "active", "empty": False}
    secret = world.api.get("Secret", namespace, "web-tls")
    assert secret is not None
    world.api.delete("Secret", namespace, "web-tls")
    world.wait_secret(secret)
    assert [row["serial"] for row in world.recorded(body)] == [old["serial"], new["serial"]]
    done = world.program("clm.cli.main", "check")
    assert "its private key does not open" not in done.stdout


def test_a_person_is_erased_by_command(world: World, tmp_path: Path) -> None:
    """Refused without a reason and under legal hold; done, exported, and nothing to be done again."""
    person = uuid.uuid4()
    world.query(
        "core",
        "INSERT INTO users (id, organization_id, username, display_name, legal_hold)"
        " SELECT %(id)s, id, 'grace', 'Grace Hopper', true FROM organizations WHERE is_system",
        id=person,
    )

    def erase(*arguments: str) -> tuple[int, str]:
        done = world.program("clm.cli.main", "erase", *arguments)
        return done.returncode, done.stdout + done.stderr

    assert erase("grace") == (1, "Error: --reason: say why, for the record\n")
    assert "is under legal hold" in erase("grace", "--reason", "asked to")[1]
    world.query("core", "UPDATE users SET legal_hold = false WHERE id = %(id)s", id=person)
    assert erase("grace", "--reason", "asked to")[0] == 0
    (row,) = world.query("core", "SELECT username, display_name, status FROM users WHERE id = %(id)s", id=person)
    assert row == {"username": f"erased-{person}", "display_name": None, "status": "erased"}
    exported = tmp_path / "tombstones.json"
    assert erase("--export", str(exported))[0] == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    assert str(person) in exported.read_text(encoding="utf-8")
    status, said = erase("--replay", "--from", str(exported))
    assert (status, said.strip()) == (0, "Nobody was brought back.")


def test_what_would_go_is_listed_and_stays(world: World) -> None:
    """`clm retention --dry-run` names every rule, and changes nothing."""
    done = world.program("clm.cli.main", "retention", "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {rule["rule"] for rule in listed["rules"]} == {
        "failed-requests", "refused-approvals", "notifications", "sessions", "reports", "private-keys",
    }  # fmt: skip
    assert listed["auditMonths"] == []


def test_the_state_of_both_databases_is_reported(world: World) -> None:
    """`clm maintenance report` needs no more than the operator's rights, and advises nothing for a fresh system."""
    done = world.program("clm.cli.main", "maintenance", "report", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(state["database"], state["months_ahead"]) for state in json.loads(done.stdout)] == [
        ("secure", 12),
        ("core", 12),
    ]
