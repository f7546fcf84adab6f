"""`clm check` sees what is not as recorded, names it, and has it mended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.world import World

_NAMES = ("status-edited", "row-lost", "secret-edited", "secret-lost", "untouched")


def _check(world: World, *options: str) -> tuple[int, list[dict[str, Any]]]:
    done = world.program("clm.cli.main", "check", "--output", "json", *options)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def test_everything_is_as_recorded(world: World, namespace: str) -> None:
    """Where nothing is wrong it says so, says what it has looked at, and exits with 0."""
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    # What is renewed at this very moment is rightly found to be under way: the others' certificates rest meanwhile.
    with world.quiet():
        done = world.program("clm.cli.main", "check")
    assert done.returncode == 0, done.stdout
    assert "Everything is as recorded." in done.stdout
    assert "private keys opened" in done.stdout


def test_what_is_not_as_recorded_is_found_and_mended(world: World, namespace: str) -> None:
    """Edits and losses in the inventory and in the cluster are found one by one, and mended without a new signature."""
    for name in _NAMES:
        world.apply(certificate(namespace, name))
    made = {name: world.wait_ready(namespace, name) for name in _NAMES}
    world.stop_controller()
    _harm(world, namespace, made)
    status, findings = _check(world)
    assert status == 1
    found = {
        (finding["world"], finding["object"].removeprefix(f"{namespace}/").split()[0], finding["problem"])
        for finding in findings
    }
    assert found == {
        ("core", "status-edited", "is superseded in the inventory and active in the record"),
        ("core", "row-lost", "is missing from the inventory"),
        ("cluster", "secret-edited", "its Secret holds another certificate than the recorded one"),
        ("cluster", "secret-lost", "its Secret is missing"),
    }
    assert all(finding["repairable"] for finding in findings)
    _check(world, "--repair")
    world.start_controller()
    wait(lambda: True if _check(world) == (0, []) else None, "everything to be mended", last=lambda: str(_check(world)))
    for name, body in made.items():
        now = world.wait_ready(namespace, name)
        assert now["status"]["serialNumber"] == body["status"]["serialNumber"]
        assert len(world.recorded(now)) == 1


def _harm(world: World, namespace: str, made: dict[str, Any]) -> None:
    world.query(
        "core",
        "UPDATE certificate_metadata SET status = 'superseded' WHERE id = %(id)s",
        id=made["status-edited"]["status"]["certificateId"],
    )
    world.query(
        "core", "DELETE FROM certificate_metadata WHERE id = %(id)s", id=made["row-lost"]["status"]["certificateId"]
    )
    other = world.api.get("Secret", namespace, "untouched-tls")
    assert other is not None
    world.api.patch("Secret", namespace, "secret-edited-tls", {"data": other["data"]})
    world.api.delete("Secret", namespace, "secret-lost-tls")
