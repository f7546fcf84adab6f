"""When certificates are renewed, and what keeps one from being renewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.e2e.manifests import certificate
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


def _due_at(world: World, body: Manifest) -> datetime | None:
    query = "SELECT renewal_due_at AS due FROM certificates WHERE id = %(id)s"
    found = world.query("secure", query, id=body["status"]["certificateId"])[0]["due"]
    return found.astimezone(UTC) if found else None


def _renewal_time(body: Manifest) -> datetime | None:
    text = body["status"].get("renewalTime")
    return datetime.fromisoformat(text) if text else None


def test_due_times_follow_the_spec(world: World, namespace: str) -> None:
    """Policy, window and renewBefore change when it is renewed, in the status and in the index, and issue nothing."""
    world.apply(certificate(namespace, "web"))
    first = world.wait_ready(namespace, "web")
    plain, end = _renewal_time(first), datetime.fromisoformat(first["status"]["notAfter"])
    assert plain is not None
    assert end - timedelta(days=36) <= plain <= end - timedelta(days=30)
    assert _due_at(world, first) == plain

    world.apply(certificate(namespace, "web", renewBefore="240h"))
    later = _renewal_time(body := world.wait_ready(namespace, "web"))
    assert later is not None
    assert end - timedelta(days=17) <= later <= end - timedelta(days=10)
    assert _due_at(world, body) == later

    sundays = {"cron": "0 2 * * SUN", "windowDuration": "3h", "timezone": "America/New_York"}
    world.apply(certificate(namespace, "web", renewal={"windows": [sundays]}))
    placed = _renewal_time(body := world.wait_ready(namespace, "web"))
    assert placed is not None
    assert plain <= placed <= plain + timedelta(days=7, hours=3)
    assert placed.isoweekday() == 7
    assert 6 <= placed.hour < 11
    assert _due_at(world, body) == placed
    assert condition(body, "WindowMissed") is None

    never = {"cron": "0 2 29 2 *", "windowDuration": "3h"}
    world.apply(certificate(namespace, "web", renewal={"windows": [never]}))
    body = world.wait_ready(namespace, "web")
    assert (condition(body, "WindowMissed") or {})["reason"] == "NoWindowBeforeExpiry"
    assert _renewal_time(body) == plain

    world.apply(certificate(namespace, "web", renewal={"policy": "Disabled"}))
    body = world.wait_ready(namespace, "web")
    assert _renewal_time(body) is None
    assert _due_at(world, body) is None
    assert condition(body, "WindowMissed") is None
    assert len(world.recorded(body)) == 1
    listed = "SELECT renewal_time FROM certificate_metadata WHERE id = %(id)s"
    inventory = world.query("core", listed, id=body["status"]["certificateId"])
    assert inventory[0]["renewal_time"] is None


def test_what_the_index_says_is_renewed(world: World, namespace: str) -> None:
    """A certificate is found when the column calls it due, without its object having said a word for months."""
    world.apply(certificate(namespace, "web"))
    world.apply(certificate(namespace, "gone"))
    body, gone = world.wait_ready(namespace, "web"), world.wait_ready(namespace, "gone")
    world.api.delete("Certificate", namespace, "gone")
    # The object's status says months: the operator looks, and goes by what its spec says.
    soon = "UPDATE certificates SET renewal_due_at = now() + interval '3 seconds' WHERE id = ANY(%(ids)s::uuid[])"
    ids = [it["status"]["certificateId"] for it in (body, gone)]
    world.query("secure", soon, ids=ids)
    wait(lambda: True if _due_at(world, gone) is None else None, "what has no object not to be due any more")
    assert len(world.recorded(body)) == 1
