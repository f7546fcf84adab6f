"""When certificates are renewed, and what keeps one from being renewed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from clm.lifecycle.renewal import RENEW_REQUESTED_AT
from tests.e2e.manifests import ISSUING, certificate, issued_by, policy
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


def _ask(world: World, namespace: str, name: str) -> None:
    # A request is answered by what is issued in its second or later, and counts as asked after a failure of before it.
    asked = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    world.api.patch("Certificate", namespace, name, {"metadata": {"annotations": {RENEW_REQUESTED_AT: asked}}})


def test_a_failed_issuance_waits_for_an_hour(world: World, namespace: str) -> None:
    """It is counted and told; somebody who asks has it tried at once, and a spec that can be issued ends it."""
    # A key that signs CRLs only proves no client's identity.
    useless = certificate(namespace, "web", usages=["crl sign", "client auth"])
    world.apply(useless)
    world.wait_refused(namespace, "web", "LintFailed")
    status = world.certificate(namespace, "web")["status"]
    failed_at, next_at = (datetime.fromisoformat(status[name]) for name in ("lastFailureTime", "nextAttemptTime"))
    assert (status["failedIssuanceAttempts"], next_at - failed_at) == (1, timedelta(hours=1))
    issuing = world.condition(namespace, "web", "Issuing") or {}
    assert (issuing["status"], issuing["reason"]) == ("False", "Failed")
    # An event of the object is no reason to try.
    world.api.patch("Certificate", namespace, "web", {"metadata": {"labels": {"seen": "yes"}}})

    _ask(world, namespace, "web")

    def tried_again() -> Manifest | None:
        found = world.certificate(namespace, "web")
        return found if datetime.fromisoformat(found["status"]["lastFailureTime"]) > failed_at else None

    assert wait(tried_again, "another attempt")["status"]["failedIssuanceAttempts"] == 1
    audited = "SELECT outcome FROM audit_log WHERE action = 'certificate.fail' AND object_id = %(uid)s"
    uid = world.certificate(namespace, "web")["metadata"]["uid"]
    assert [row["outcome"] for row in world.query("core", audited, uid=uid)] == ["failure", "failure"]

    world.apply(certificate(namespace, "web"))
    status = world.wait_ready(namespace, "web")["status"]
    assert not {"failedIssuanceAttempts", "lastFailureTime", "nextAttemptTime"} & set(status)
    assert world.condition(namespace, "web", "Issuing") is None


def test_a_spec_that_flaps_is_suspended(world: World, namespace: str) -> None:
    """Ten issuances for one cause within an hour are enough. What was issued last stands, and somebody may ask."""

    def spec(number: int) -> Manifest:
        return certificate(namespace, "web", dnsNames=[f"{'ab'[number % 2]}.example.com"])

    for number in range(11):
        world.apply(spec(number))
        world.wait_ready(namespace, "web")
    assert world.certificate(namespace, "web")["status"]["revision"] == 11
    world.apply(spec(11))
    message = world.wait_refused(namespace, "web", "IssuanceSuspended")["message"]
    assert "10 times within 60 minutes" in message
    assert "clm renew" in message
    suspended = world.condition(namespace, "web", "IssuanceSuspended") or {}
    assert (suspended["status"], suspended["reason"]) == ("True", "SpecChanged")

    world.apply(spec(10))
    body = world.wait_ready(namespace, "web")
    assert body["status"]["revision"] == 11
    assert world.condition(namespace, "web", "IssuanceSuspended") is None

    world.apply(spec(11))
    world.wait_refused(namespace, "web", "IssuanceSuspended")
    _ask(world, namespace, "web")
    body = world.wait_ready(namespace, "web")
    assert body["status"]["revision"] == 12
    reason = "SELECT reason FROM certificate_requests WHERE id = %(id)s"
    assert world.query("secure", reason, id=body["status"]["certificateId"])[0]["reason"] == "manual"

    # Another object of that name is the same one.
    world.api.delete("Certificate", namespace, "web")
    world.apply(spec(12))
    world.wait_refused(namespace, "web", "IssuanceSuspended")


def test_what_is_above_a_quota_waits_for_its_turn(world: World, namespace: str) -> None:
    """Two an hour: the third waits and is told when; a certificate that stands is renewed all the same by its time."""
    name = f"quota-{namespace}"
    world.apply(policy(name, issued_by(ISSUING), quota={"issuancesPerHour": 2}))
    for number in range(2):
        world.apply(certificate(namespace, f"web-{number}", policyRef={"name": name}))
        world.wait_ready(namespace, f"web-{number}")
    world.apply(certificate(namespace, "late", policyRef={"name": name}))
    message = world.wait_refused(namespace, "late", "QuotaExceeded")["message"]
    assert f"Policy {name} grants namespace {namespace} 2 issuances an hour" in message
    status = world.certificate(namespace, "late")["status"]
    wait_s = (datetime.fromisoformat(status["nextAttemptTime"]) - datetime.now(UTC)).total_seconds()
    assert 0 < wait_s <= 1801  # told in whole seconds
    assert (world.condition(namespace, "late", "Reconciling") or {})["status"] == "True"

    # Who has one and asks for another waits as well, and keeps what stands.
    _ask(world, namespace, "web-0")
    waiting = wait(lambda: world.condition(namespace, "web-0", "Issuing"), "the request to wait")
    assert (waiting["status"], waiting["reason"]) == ("True", "QuotaExceeded")
    assert (world.condition(namespace, "web-0") or {})["status"] == "True"

    # Half an hour later, by the bucket's clock, there is a token; more quota is not needed for it.
    earlier = "UPDATE clm_work.issuance_quotas SET refilled_at = refilled_at - interval '1 hour'"
    world.query("secure", f"{earlier} WHERE namespace = %(it)s", it=namespace)
    world.apply(policy(name, issued_by(ISSUING), quota={"issuancesPerHour": 3}))
    world.wait_ready(namespace, "late")


def _told(world: World, namespace: str, name: str, reason: str) -> int:
    events = world.api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    about = [it for it in events if it["regarding"]["name"] == name and it["reason"] == reason]
    return sum((it.get("series") or {}).get("count", 1) for it in about)


def test_who_waits_for_a_quota_is_left_alone_until_the_policy_changes(world: World, namespace: str) -> None:
    """One Event, and nothing written by a restart; a Policy that grants again is heard at once."""
    nothing, little = f"nothing-{namespace}", f"little-{namespace}"
    world.apply(policy(nothing, issued_by(ISSUING)))
    world.apply(certificate(namespace, "web", policyRef={"name": nothing}))
    world.wait_ready(namespace, "web")
    world.apply(policy(nothing, issued_by(ISSUING), quota={"issuancesPerHour": 0}))
    world.apply(certificate(namespace, "new", policyRef={"name": nothing}))
    world.wait_refused(namespace, "new", "QuotaExceeded")
    _ask(world, namespace, "web")
    waiting = wait(lambda: world.condition(namespace, "web", "Issuing"), "the request to wait")
    assert "grants namespace" in waiting["message"]

    world.apply(policy(little, issued_by(ISSUING), quota={"issuancesPerHour": 1}))
    world.apply(certificate(namespace, "first", policyRef={"name": little}))
    world.wait_ready(namespace, "first")
    for name in ("second", "third"):
        world.apply(certificate(namespace, name, policyRef={"name": little}))
        world.wait_refused(namespace, name, "QuotaExceeded")

    def written() -> list[tuple[str, str | None]]:
        found = [world.certificate(namespace, name) for name in ("web", "new", "second", "third")]
        return [(it["metadata"]["resourceVersion"], it["status"].get("nextAttemptTime")) for it in found]

    wait(lambda: _told(world, namespace, "web", "QuotaExceeded") or None, "the Event")
    before = written()
    assert [bool(told) for _, told in before] == [False, False, True, True]
    known = len(world.api.items("/apis/clm-operator.io/v1alpha1/certificates"))
    world.restart_controller()

    def at_rest() -> bool | None:
        metrics = world.metrics
        return True if metrics["clm_certificates"] >= known and not metrics["clm_queue_depth"] else None

    wait(at_rest, "the operator to have looked at all of them")
    world.apply(certificate(namespace, "fourth", policyRef={"name": little}))
    world.wait_refused(namespace, "fourth", "QuotaExceeded")  # it stands behind the others
    places = [datetime.fromisoformat(told) for _, told in written() if told]
    assert datetime.fromisoformat(world.certificate(namespace, "fourth")["status"]["nextAttemptTime"]) > max(places)
    assert written() == before
    assert _told(world, namespace, "web", "QuotaExceeded") == 1

    world.apply(policy(nothing, issued_by(ISSUING), quota={"issuancesPerHour": 2}))
    world.wait_ready(namespace, "new")

    def renewed() -> bool | None:
        status = world.certificate(namespace, "web")["status"]
        return True if status["revision"] == 2 and world.condition(namespace, "web", "Issuing") is None else None

    wait(renewed, "the request to be granted")


def test_asking_on_the_command_line(world: World, namespace: str) -> None:
    """`clm renew` asks with the kubeconfig of whoever runs it, waits, and tells what became of each."""
    for name in ("web", "other"):
        world.apply(certificate(namespace, name))
        world.wait_ready(namespace, name)
    renew = ("clm.cli.main", "renew", "--kubeconfig", str(world.kubeconfig))
    done = world.program(*renew, f"{namespace}/web", "--wait", "-o", "json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert (told["name"], told["outcome"], told["revision"]) == ("web", "renewed", 2)
    world.wait_ready(namespace, "web")

    done = world.program(*renew, f"{namespace}/web", f"{namespace}/none", "--wait")
    assert done.returncode == 1
    assert "there is no such Certificate" in done.stdout
    assert f"{namespace}/web" in done.stdout

    done = world.program(*renew, "--all", "--namespace", namespace, "--wait", "-o", "json")
    assert {(it["name"], it["outcome"]) for it in json.loads(done.stdout)} == {("web", "renewed"), ("other", "renewed")}
    done = world.program(*renew, "--policy", "nobody", "--namespace", namespace)
    assert (done.returncode, done.stderr.strip()) == (1, "No Certificate fits.")
    done = world.program(*renew, "--selector", "=", "--namespace", namespace)
    assert done.returncode == 1
    assert "--selector" in done.stderr

    done = world.program("clm.cli.main", "report", "renewals", "--days", "90", "-o", "json")
    days = json.loads(done.stdout)["days"]
    assert sum(day["renewals"] for day in days) >= 2
    assert all(day["peakPerSecond"] >= 1 for day in days)
