"""The roots of a Policy's CA stand in the namespaces that it selects, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, authority, certificate, issued_by, policy
from tests.e2e.renewing import renew
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World

NAME = "trusted-roots"


def _selected(world: World, name: str, group: str | None) -> None:
    labels = {} if group is None else {"labels": {"trust": group}}
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **labels}})


def _publishing(name: str, group: str, ca: dict[str, Any], config_map: str = NAME) -> Manifest:
    bundle = {"configMap": config_map, "namespaceSelector": {"matchLabels": {"trust": group}}}
    return policy(name, ca, trustBundle=bundle)


def _bundle(world: World, namespace: str, name: str = NAME) -> str | None:
    found = world.api.get("ConfigMap", namespace, name)
    return None if found is None else str(found.get("data", {}).get("ca.crt", ""))


def _wait_roots(world: World, namespace: str, count: int) -> list[bytes]:
    """Wait until a namespace has a bundle of so many certificates; give them in PEM."""

    def look() -> list[bytes] | None:
        found = openssl.split((_bundle(world, namespace) or "").encode())
        return found if len(found) == count else None

    return wait(look, f"{count} roots in {namespace}", last=lambda: str(_bundle(world, namespace)))


def _wait_gone(world: World, namespace: str) -> None:
    wait(lambda: _bundle(world, namespace) is None or None, f"the bundle to leave {namespace}")


def _wait_told(world: World, name: str, reason: str) -> Manifest:
    """Wait until a Policy says so of its trust bundle; give the condition."""

    def look() -> Manifest | None:
        found = condition(world.api.get("Policy", None, name) or {}, "TrustBundle")
        return found if found is not None and found["reason"] == reason else None

    return wait(look, f"TrustBundle of {name} to be {reason}", last=lambda: str(world.api.get("Policy", None, name)))


def _since(world: World, before: dict[str, int], what: str) -> int:
    return world.api.writes().get(what, 0) - before.get(what, 0)


def test_roots_follow_the_selected_namespaces_and_stay_true(world: World, namespace: str) -> None:
    """Published, repaired, told what is in the way, taken away with the label; nothing of others is touched."""
    late, theirs = f"{namespace}-late", f"{namespace}-theirs"
    for name, group in ((namespace, namespace), (late, None), (theirs, namespace)):
        _selected(world, name, group)
    foreign = world.api.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": theirs, "name": NAME}, "data": {"a": "b"}}
    )
    world.apply(_publishing(namespace, namespace, issued_by(ISSUING)))
    (root,) = _wait_roots(world, namespace, 1)
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    world.wait_ready(namespace, "web")
    secret = world.secret(namespace, "web-tls")
    assert secret["ca.crt"] == root
    openssl.verify({**secret, "ca.crt": (_bundle(world, namespace) or "").encode()})
    told = _wait_told(world, namespace, "InTheWay")
    assert f"{theirs}: ConfigMap {NAME} exists and is not CLM's" in told["message"]
    assert world.api.get("ConfigMap", theirs, NAME) == foreign
    world.api.delete("ConfigMap", theirs, NAME)

    _selected(world, late, namespace)
    _wait_roots(world, late, 1)
    _wait_roots(world, theirs, 1)
    assert "3 of 3 namespaces" in _wait_told(world, namespace, "Published")["message"]
    world.api.patch("ConfigMap", namespace, NAME, {"data": {"ca.crt": "no root", "more": "x"}})
    assert _wait_roots(world, namespace, 1) == [root]
    assert world.api.get("ConfigMap", namespace, NAME)["data"].keys() == {"ca.crt"}  # type: ignore[index]
    world.api.delete("ConfigMap", late, NAME)
    _wait_roots(world, late, 1)

    world.restart_controller()
    _selected(world, late, None)
    _wait_gone(world, late)
    with world.quiet():
        world.api.delete("Policy", None, namespace)
    _wait_gone(world, namespace)
    _wait_gone(world, theirs)


def test_a_rollover_has_both_roots_and_the_older_policy_the_name(world: World, namespace: str) -> None:
    """The renewed root comes in beside the former one; a restart writes nothing; a rival waits for the name."""
    _selected(world, namespace, namespace)
    top, rival = f"{namespace}-top", f"{namespace}-rival"
    world.apply(policy(top, {"selfSigned": {}}))
    world.apply(authority(namespace, "top", top))
    world.apply(_publishing(namespace, namespace, issued_by("top", namespace)))
    (old,) = _wait_roots(world, namespace, 1)
    renew(world, namespace, "top")
    both = _wait_roots(world, namespace, 2)
    assert set(both) == {old, world.secret(namespace, "top")["tls.crt"]}

    world.apply(_publishing(rival, namespace, issued_by(ISSUING)))
    assert f"belongs to Policy {namespace}" in _wait_told(world, rival, "InTheWay")["message"]
    before, written = world.api.get("ConfigMap", namespace, NAME), world.api.writes()
    world.restart_controller()
    _selected(world, f"{namespace}-more", namespace)
    wait(lambda: "2 of 2" in _wait_told(world, namespace, "Published")["message"] or None, "both namespaces to be told")
    wait(lambda: "2 namespaces" in _wait_told(world, rival, "InTheWay")["message"] or None, "the rival to be told")
    assert world.api.get("ConfigMap", namespace, NAME) == before
    # What was so before the restart is not written again: the two Policies tell of the new namespace, and that is all.
    assert _since(world, written, "PATCH policies/status") <= 4
    assert _since(world, written, "PATCH configmaps (409)") == 0
    world.api.delete("Policy", None, namespace)
    (other,) = _wait_roots(world, namespace, 1)
    assert other not in both
    _wait_told(world, rival, "Published")
    world.api.delete("Policy", None, rival)
    _wait_gone(world, namespace)
