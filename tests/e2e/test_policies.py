"""What a Policy says of itself: that certificates can be issued under it, or what is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.manifests import ISSUING, LEAF, authority, certificate, issued_by, policy
from tests.e2e.world import condition

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


def _waits(body: Manifest) -> bool:
    """Whether it says that it will go on by itself, and only that."""
    ready = condition(body, "Ready") or {}
    waiting = condition(body, "Reconciling") or {}
    return (
        ready["reason"] == "IssuerNotReady" == waiting.get("reason")
        and waiting["status"] == "True"
        and waiting["message"] == ready["message"]
        and condition(body, "Stalled") is None
    )


def test_follows_its_issuer(world: World, namespace: str) -> None:
    """A Policy whose CA is not there, is a leaf, or is not Ready is not Ready either, and says what its leaves say."""
    world.apply(policy(namespace, issued_by("ca", namespace)))
    missing = world.wait_policy(namespace, status="False", saying=f"there is no Certificate {namespace}/ca")
    assert _waits(missing)
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    of_leaf = world.wait_refused(namespace, "web", "IssuerNotReady")
    assert of_leaf["message"] == (condition(missing, "Ready") or {})["message"]

    world.apply(certificate(namespace, "ca"))
    assert _waits(world.wait_policy(namespace, status="False", saying="is not a CA: set its spec.isCA"))
    world.api.delete("Certificate", namespace, "ca")
    world.wait_policy(namespace, status="False", saying="there is no Certificate")

    world.apply(authority(namespace, "ca", f"{namespace}-none"))
    assert _waits(world.wait_policy(namespace, status="False", saying="is not Ready (PolicyNotFound)"))
    world.apply(policy(f"{namespace}-none", issued_by(ISSUING)))
    ready = world.wait_policy(namespace, status="True")
    assert condition(ready, "Reconciling") is None
    assert condition(ready, "Stalled") is None
    world.wait_ready(namespace, "web")

    world.api.delete("Certificate", namespace, "ca")
    assert _waits(world.wait_policy(namespace, status="False", saying="there is no Certificate"))


def test_what_became_of_the_issuer_while_nobody_looked(world: World, namespace: str) -> None:
    """A CA that went while the operator was down is missed at its start, and only the Policies of it are written."""
    world.apply(authority(namespace, "ca", ISSUING))
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.apply(policy(f"{namespace}-waiting", issued_by("never", namespace)))
    world.wait_policy(namespace, status="True")
    waiting = world.wait_policy(f"{namespace}-waiting", status="False")
    others = [waiting, *(world.wait_policy(name, status="True") for name in (ISSUING, LEAF))]
    with world.quiet():
        world.api.delete("Certificate", namespace, "ca")
    world.wait_policy(namespace, status="False", saying="there is no Certificate")
    world.wait_settled(certificates=0)
    for other in others:
        name = other["metadata"]["name"]
        assert world.api.get("Policy", None, name) == other, f"{name} was written again, and nothing had changed"
