"""Revocation by the object: spec.revocation, and deletionPolicy Revoke."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.api import Api, ApiError
from tests.e2e.manifests import CA_NAMESPACE, ISSUING, ROOT, authority, certificate, issued_by, policy
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

FINALIZER = "clm-operator.io/revoke"


def _revoke(world: World, namespace: str, name: str, reason: str) -> Manifest:
    """Ask for the revocation of an object, and wait until it is carried out; give the object."""
    world.api.patch("Certificate", namespace, name, {"spec": {"revocation": {"reason": reason}}})
    world.wait_refused(namespace, name, "Revoked")
    return world.certificate(namespace, name)


def _told(world: World, ids: list[Any]) -> dict[Any, int]:
    """Read by what OCSP answers: the reason's code of each certificate."""
    statement = "SELECT certificate_id, reason_code FROM clm_status.revocations WHERE certificate_id = ANY(%(ids)s)"
    rows = world.query("core", statement, ids=ids)
    return {row["certificate_id"]: row["reason_code"] for row in rows}


def _wait_held(world: World, namespace: str, name: str, *, held: bool) -> Manifest:
    def look() -> Manifest | None:
        body = world.certificate(namespace, name)
        return body if (FINALIZER in body["metadata"].get("finalizers", [])) is held else None

    return wait(look, f"the finalizer of {name} to be {'set' if held else 'gone'}")


def _wait_gone(world: World, namespace: str, name: str) -> None:
    wait(lambda: True if world.api.get("Certificate", namespace, name) is None else None, f"{name} to be let go")


def test_revoked_and_taken_back(world: World, namespace: str) -> None:
    """All that was issued is revoked; then there is a new certificate, and a new key whatever rotationPolicy."""
    world.apply(certificate(namespace, "web", privateKey={"rotationPolicy": "Never"}))
    first = world.wait_ready(namespace, "web")
    world.apply(certificate(namespace, "web", dnsNames=["a.example.com"], privateKey={"rotationPolicy": "Never"}))
    second = world.wait_ready(namespace, "web")
    before = world.secret(namespace, "web-tls")

    body = _revoke(world, namespace, "web", "keyCompromise")

    revoked = condition(body, "Revoked") or {}
    assert (revoked["status"], revoked["reason"]) == ("True", "keyCompromise")
    assert "2 certificates are revoked" in revoked["message"]
    assert condition(body, "Stalled") is not None
    assert body["status"]["serialNumber"] == second["status"]["serialNumber"] != first["status"]["serialNumber"]
    assert "renewalTime" not in body["status"]
    rows = world.settled(body)
    assert [row["state"] for row in rows] == ["revoked", "revoked"]
    assert _told(world, [row["id"] for row in rows]) == {row["id"]: 1 for row in rows}
    assert world.secret(namespace, "web-tls") == before
    [key] = world.query("secure", "SELECT state FROM private_keys WHERE id = %(id)s", id=rows[1]["private_key_id"])
    assert key["state"] == "compromised"

    world.api.patch("Certificate", namespace, "web", {"spec": {"revocation": None}})
    body = world.wait_ready(namespace, "web")
    assert condition(body, "Revoked") is None
    assert [row["state"] for row in world.settled(body)] == ["revoked", "revoked", "active"]
    assert world.secret(namespace, "web-tls")["tls.key"] != before["tls.key"]


def test_first_reason_stands_and_a_restart_writes_nothing(world: World, namespace: str) -> None:
    """Another reason changes nothing but the words; a revoked object is left alone at a start."""
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    _revoke(world, namespace, "web", "superseded")
    body = _revoke(world, namespace, "web", "affiliationChanged")
    assert "the first reason stands, not affiliationChanged" in (condition(body, "Ready") or {})["message"]
    assert (condition(body, "Revoked") or {})["reason"] == "superseded"
    world.restart_controller()
    assert world.certificate(namespace, "web")["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]


def test_deleted_and_revoked(world: World, namespace: str) -> None:
    """A finalizer stands before anything is issued; deletion revokes all, and the Secret goes; also after a pause."""
    for name in ("web", "late"):
        world.apply(certificate(namespace, name, deletionPolicy="Revoke"))
    bodies = [world.wait_ready(namespace, name) for name in ("web", "late")]
    assert all(body["metadata"]["finalizers"] == [FINALIZER] for body in bodies)

    world.api.delete("Certificate", namespace, "web")
    _wait_gone(world, namespace, "web")
    with world.quiet():
        world.api.delete("Certificate", namespace, "late")
        held = world.certificate(namespace, "late")
        assert held["metadata"]["deletionTimestamp"]
    _wait_gone(world, namespace, "late")

    for body in bodies:
        [row] = world.settled(body)
        assert (row["state"], _told(world, [row["id"]])) == ("revoked", {row["id"]: 5})
        assert world.api.get("Secret", namespace, body["spec"]["secretName"]) is None


def test_secrets_of_former_names_go_with_the_object(world: World, namespace: str) -> None:
    """Those that are its own; not what another Certificate has taken over, and not a stranger's that names it."""

    def rename(name: str, secret_name: str) -> None:
        world.api.patch("Certificate", namespace, name, {"spec": {"secretName": secret_name}})
        world.wait_ready(namespace, name)

    for name in ("web", "late"):
        world.apply(certificate(namespace, name, deletionPolicy="Revoke"))
        world.wait_ready(namespace, name)
    for secret_name in ("given-up", "web-new"):
        rename("web", secret_name)
    rename("late", "late-new")
    world.apply(certificate(namespace, "heir", secretName="given-up"))
    world.wait_ready(namespace, "heir")
    annotations = {"clm-operator.io/certificate-name": "web"}
    stranger = {"name": "stranger", "namespace": namespace, "annotations": annotations}
    world.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": stranger})
    assert all(world.secret(namespace, name)["tls.key"] for name in ("web-tls", "web-new", "late-tls", "late-new"))

    world.api.delete("Certificate", namespace, "web")
    _wait_gone(world, namespace, "web")
    with world.quiet():
        world.api.delete("Certificate", namespace, "late")
    _wait_gone(world, namespace, "late")

    for name in ("web-tls", "web-new", "late-tls", "late-new"):
        assert world.api.get("Secret", namespace, name) is None, name
    assert world.api.get("Secret", namespace, "stranger") is not None
    assert world.secret(namespace, "given-up")["tls.key"]
    world.wait_ready(namespace, "heir")


@contextmanager
def _without(world: World, database: str) -> Iterator[None]:
    """Have a database refuse the operator, as one does that is away."""
    user = f"clm_operator_{database}"
    world.query(database, f"ALTER ROLE {user} NOLOGIN")
    world.query(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'")
    try:
        yield
    finally:
        world.query(database, f"ALTER ROLE {user} LOGIN")


def test_deletion_waits_for_the_record_alone(world: World, namespace: str) -> None:
    """Not for clm_core_db, which learns of it later; while clm_secure_db is away the object waits, and says why."""
    for name in ("web", "late"):
        world.apply(certificate(namespace, name, deletionPolicy="Revoke"))
    bodies = [world.wait_ready(namespace, name) for name in ("web", "late")]
    with _without(world, "core"):
        world.api.delete("Certificate", namespace, "web")
        _wait_gone(world, namespace, "web")
        assert [row["state"] for row in world.recorded(bodies[0])] == ["revoked"]
    with _without(world, "secure"):
        world.api.delete("Certificate", namespace, "late")
        said = wait(lambda: world.condition(namespace, "late", "Reconciling"), "the status to say what it waits for")
        assert (said["reason"], "clm_secure_db" in said["message"]) == ("DependencyUnavailable", True)
        assert FINALIZER in world.certificate(namespace, "late")["metadata"]["finalizers"]
    _wait_gone(world, namespace, "late")
    world.restart_controller()  # it looks at the outbox at once then, else once a minute
    for body in bodies:
        [row] = world.settled(body)
        assert (row["core"], _told(world, [row["id"]])) == ("revoked", {row["id"]: 5})


def test_namespace_is_deleted(world: World, namespace: str) -> None:
    """Its Secrets may go first, and nothing may be made in it any more: the certificates are revoked all the same."""
    own = f"{namespace}-gone"
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": own}})
    world.apply(certificate(own, "web", deletionPolicy="Revoke"))
    body = world.wait_ready(own, "web")
    world.api.delete("Namespace", None, own)
    wait(lambda: True if world.api.get("Namespace", None, own) is None else None, "the namespace to go")
    assert [row["state"] for row in world.settled(body)] == ["revoked"]


def test_deletion_policy_is_changed(world: World, namespace: str) -> None:
    """Set back to Retain, even while the object is being deleted: it is let go, and all stays."""
    world.apply(certificate(namespace, "web", deletionPolicy="Revoke"))
    world.wait_ready(namespace, "web")
    world.apply(certificate(namespace, "web", deletionPolicy="Retain"))
    _wait_held(world, namespace, "web", held=False)
    world.apply(certificate(namespace, "web", deletionPolicy="Revoke"))
    body = _wait_held(world, namespace, "web", held=True)
    with world.quiet():
        world.api.delete("Certificate", namespace, "web")
        world.api.patch("Certificate", namespace, "web", {"spec": {"deletionPolicy": "Retain"}})
    _wait_gone(world, namespace, "web")
    assert [row["state"] for row in world.settled(body)] == ["active"]
    assert world.secret(namespace, "web-tls")["tls.crt"]


def test_revoked_authority_issues_no_more(world: World, namespace: str) -> None:
    """Its leaves are told why; its key stays unless it was compromised; a root cannot be revoked."""
    world.apply(authority(namespace, "ca", ISSUING))
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    world.wait_ready(namespace, "web")
    _revoke(world, namespace, "ca", "cessationOfOperation")
    world.apply(certificate(namespace, "late", policyRef={"name": namespace}))
    assert "is not Ready (Revoked)" in world.wait_refused(namespace, "late", "IssuerNotReady")["message"]
    world.api.patch("Certificate", namespace, "ca", {"spec": {"revocation": None}})
    world.wait_ready(namespace, "late")

    world.apply(authority(namespace, "root", ROOT))
    root = world.wait_ready(namespace, "root")
    world.api.patch("Certificate", namespace, "root", {"spec": {"revocation": {"reason": "cACompromise"}}})
    assert "trust anchor" in world.wait_refused(namespace, "root", "RevocationRefused")["message"]
    assert [row["state"] for row in world.recorded(root)] == ["active"]


def test_controller_may_change_nothing_but_its_finalizer(world: World, namespace: str) -> None:
    """RBAC must let it patch Certificates; admission holds it to the one finalizer."""
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    controller = Api(world.server, world.identities, name="controller")
    for patch, says in (
        ({"spec": {"dnsNames": ["evil.example.com"]}}, "no spec"),
        ({"metadata": {"labels": {"a": "b"}}}, "no metadata"),
        ({"metadata": {"finalizers": ["example.com/mine"]}}, "no finalizer"),
    ):
        with pytest.raises(ApiError, match=says):
            controller.patch("Certificate", namespace, "web", patch)
    controller.patch("Certificate", namespace, "web", {"metadata": {"finalizers": [FINALIZER]}})
    _wait_held(world, namespace, "web", held=False)
    controller.close()


def _command(world: World, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return world.program("clm.cli.main", "revoke", *arguments, timeout_s=timeout_s)


def test_command_revokes_what_has_no_object(world: World, namespace: str) -> None:
    """By serial number as openssl writes it, with a reason and a comment; twice is an error, a compromise not."""
    world.apply(certificate(namespace, "gone"))
    body = world.wait_ready(namespace, "gone")
    world.api.delete("Certificate", namespace, "gone")
    serial = body["status"]["serialNumber"]

    dry = _command(world, serial, "--reason", "superseded", "--dry-run")
    assert (dry.returncode, f"{namespace}/gone" in dry.stdout) == (0, True), dry.stderr
    assert [row["state"] for row in world.recorded(body)] == ["active"]
    asked = _command(world, serial, "--reason", "superseded")
    assert (asked.returncode, "Aborted" in asked.stderr) == (1, True)
    assert [row["state"] for row in world.recorded(body)] == ["active"]

    done = _command(
        world, f"serial={serial.replace(':', '').upper()}", "--reason=superseded", "--comment=moved", "--yes"
    )
    assert done.returncode == 0, done.stderr
    [row] = world.settled(body)
    assert (row["state"], _told(world, [row["id"]])) == ("revoked", {row["id"]: 4})
    statement = """
        SELECT r.comment, a.actor_type, a.details FROM certificate_revocations r
        JOIN secure_audit_log a ON a.object_id = r.certificate_id::text AND a.action = 'certificate.revoke'
        WHERE r.certificate_id = %(id)s
    """
    [said] = world.query("secure", statement, id=row["id"])
    assert (said["comment"], said["actor_type"], said["details"]["cause"]) == ("moved", "user", "clm revoke")

    again = _command(world, serial, "--reason", "cessationOfOperation", "--yes")
    assert (again.returncode, "revoked already" in again.stderr) == (1, True)
    worse = _command(world, "--id", str(row["id"]), "--reason", "keyCompromise", "--yes")
    assert (worse.returncode, _told(world, [row["id"]])) == (0, {row["id"]: 1}), worse.stderr


def test_command_on_a_certificate_whose_object_stands(world: World, namespace: str) -> None:
    """The object gets a new certificate with a new key; what cannot be revoked is told, all of it at once."""
    world.apply(certificate(namespace, "web", privateKey={"rotationPolicy": "Never"}))
    before = world.wait_ready(namespace, "web")
    key = world.secret(namespace, "web-tls")["tls.key"]
    fingerprint = before["status"]["fingerprint"]
    done = _command(world, "--fingerprint", fingerprint, "--reason", "privilegeWithdrawn", "--yes")
    assert done.returncode == 0, done.stderr
    world.restart_controller()  # it looks at the outbox at once then, else once a minute

    def look() -> Manifest | None:
        body = world.wait_ready(namespace, "web")
        return body if body["status"]["serialNumber"] != before["status"]["serialNumber"] else None

    body = wait(look, "another certificate")
    assert [row["state"] for row in world.settled(body)] == ["revoked", "active"]
    assert world.secret(namespace, "web-tls")["tls.key"] != key

    root = world.certificate(CA_NAMESPACE, ROOT)["status"]["serialNumber"]
    wrong = _command(world, root, "00:11:22:33:44:55:66:77:88", "--reason", "cACompromise", "--yes")
    assert wrong.returncode == 1
    assert "self-signed" in wrong.stderr
    assert "no certificate has the serial number 00:11:22:33:44:55:66:77:88" in wrong.stderr
    assert "none: write it in hexadecimal" in _command(world, "web", "--reason", "superseded").stderr
