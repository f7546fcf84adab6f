"""What a person does to a key takes effect: a suspended CA issues nothing and says why, a destroyed key is gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.manifests import CA_NAMESPACE, ROOT, authority, certificate, issued_by, policy
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.e2e.world import World


def _keys(world: World, *arguments: str) -> CompletedProcess[str]:
    return world.program("clm.cli.main", "keys", *arguments)


def _listed(world: World) -> dict[str, dict[str, Any]]:
    done = _keys(world, "list", "--all", "-o", "json")
    assert done.returncode == 0, done.stderr
    return {key["label"]: key for key in json.loads(done.stdout)}


def _act(world: World, act: str, key: dict[str, Any], *options: str, says: str) -> None:
    done = _keys(world, act, key["id"], "--reason", "a drill", *options)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def _refused(world: World, act: str, key: dict[str, Any], *options: str) -> str:
    done = _keys(world, act, key["id"], "--reason", "a drill", *options)
    assert done.returncode == 1
    return done.stderr


def _authority(world: World, name: str) -> dict[str, Any]:
    """Make a CA below the root with a Policy of its own; give its key as `clm keys list` has it."""
    world.apply(policy(f"by-{name}", issued_by(name)))
    world.apply(policy(name, issued_by(ROOT)))
    world.apply(authority(CA_NAMESPACE, name, name))
    world.wait_ready(CA_NAMESPACE, name)
    return _listed(world)[f"clm-ca-{CA_NAMESPACE}-{name}-v1"]


def _wait_health(world: World, name: str, reason: str) -> dict[str, Any]:
    """Wait until a CA says how it is; give the condition."""

    def look() -> dict[str, Any] | None:
        found = world.condition(CA_NAMESPACE, name, "AuthorityHealthy")
        return found if found is not None and found["reason"] == reason else None

    return wait(
        look, f"{name} to be {reason}", last=lambda: str(world.condition(CA_NAMESPACE, name, "AuthorityHealthy"))
    )


def _end_certificates(world: World, key: dict[str, Any]) -> None:
    """Revoke what a CA has issued, and the CA, in both databases: there is no command for it yet."""
    ended = world.query(
        "secure",
        "UPDATE certificates SET state = 'revoked' WHERE issuer_key_id = %(id)s OR subject_key_id = %(id)s"
        " RETURNING id",
        id=key["id"],
    )
    ids = [row["id"] for row in ended]
    world.query("core", "UPDATE certificate_metadata SET status = 'revoked' WHERE id = ANY(%(ids)s)", ids=ids)


def test_a_suspended_authority_issues_nothing_until_it_is_resumed(world: World, namespace: str) -> None:
    """Not even what is written at once gets past it; who waits is told the reason, and goes on by itself."""
    key = _authority(world, "sub-suspended")
    world.apply(certificate(namespace, "before", policyRef={"name": "by-sub-suspended"}))
    before = world.wait_ready(namespace, "before")
    assert _wait_health(world, "sub-suspended", "Healthy")["status"] == "True"
    _act(world, "suspend", key, says="is suspended")
    world.apply(certificate(namespace, "during", policyRef={"name": "by-sub-suspended"}))

    def told() -> bool | None:
        found = world.condition(namespace, "during") or {}
        return True if "its key is suspended: a drill" in str(found.get("message")) else None

    wait(told, "the reason to be in the condition", last=lambda: str(world.condition(namespace, "during")))
    assert world.recorded(world.certificate(namespace, "during")) == []
    standing = world.certificate(namespace, "before")
    assert (condition(standing, "Ready") or {})["status"] == "True"
    assert standing["status"]["serialNumber"] == before["status"]["serialNumber"]
    assert "its key is suspended: a drill" in _wait_health(world, "sub-suspended", "KeyNotUsable")["message"]
    _act(world, "resume", key, says="is active")
    world.wait_ready(namespace, "during")
    assert _wait_health(world, "sub-suspended", "Healthy")["status"] == "True"
    world.wait_policy("by-sub-suspended", status="True")


def test_a_key_is_destroyed_only_when_nothing_depends_on_it(world: World, namespace: str) -> None:
    """Step by step, each refused before its time; then it is gone from the token, and all of it is on record."""
    key = _authority(world, "sub-destroyed")
    world.apply(certificate(namespace, "web", policyRef={"name": "by-sub-destroyed"}))
    world.wait_ready(namespace, "web")
    assert "cannot become destroyed" in _refused(world, "destroy", key)
    assert _listed(world)[key["label"]]["dependents"] == {
        "certificates that it issued": 1,
        "certificates of its own": 1,
    }
    _act(world, "deactivate", key, says="is deactivated")
    assert "is deactivated" in _refused(world, "resume", key)
    assert "depend on it" in _refused(world, "destroy", key)
    _end_certificates(world, key)
    assert f"--yes-destroy {key['label']}" in _refused(world, "destroy", key)
    assert "nothing was destroyed" in _refused(world, "destroy", key, "--yes-destroy", "another")
    _act(world, "destroy", key, "--yes-destroy", key["label"], says="2 objects went from the token")
    assert _listed(world)[key["label"]]["state"] == "destroyed"
    world.api.delete("Certificate", CA_NAMESPACE, "sub-destroyed")
    acts = world.query(
        "secure",
        "SELECT action, details->>'step' AS step FROM secure_audit_log WHERE object_id = %(id)s ORDER BY occurred_at",
        id=key["id"],
    )
    assert [(row["action"], row["step"]) for row in acts] == [
        ("key.generate", None),
        ("key.activate", None),
        ("key.deactivate", None),
        ("key.destroy", "begun"),
        ("key.destroy", "done"),
    ]


def test_every_key_has_an_end_and_who_is_past_it_is_named(world: World) -> None:
    """Cryptoperiods are set when a key is activated; `clm keys list` warns by its exit code."""
    key = _authority(world, "sub-old")
    assert all(found["originatorUsageEndsAt"] for found in _listed(world).values() if found["state"] == "active")
    past = (
        "UPDATE encryption_keys SET activated_at = now() - interval '3 years', oup_ends_at = now() - %(by)s::interval"
    )
    world.query("secure", past + " WHERE id = %(id)s", id=key["id"], by="1 day")
    try:
        done = _keys(world, "list")
        assert done.returncode == 1
        assert f"{key['label']} is past its cryptoperiod" in " ".join(done.stdout.split())
    finally:
        world.query("secure", "UPDATE encryption_keys SET oup_ends_at = rup_ends_at WHERE id = %(id)s", id=key["id"])
