"""When the issuer becomes another, what it has issued is issued anew: at once, without anybody touching the leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, authority, certificate, issued_by, policy
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


def _leaf_of(world: World, namespace: str, ca: str) -> Manifest:
    """Have a CA, a Policy that names it and a Ready leaf."""
    world.apply(authority(namespace, ca, ISSUING))
    world.apply(policy(namespace, issued_by(ca, namespace)))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    return world.wait_ready(namespace, "web")


def _reissued(world: World, namespace: str, former: Manifest) -> Manifest:
    """Wait until the leaf is Ready with another serial, and verify it."""

    def look() -> Manifest | None:
        body = world.wait_ready(namespace, "web")
        return body if body["status"]["serialNumber"] != former["status"]["serialNumber"] else None

    body = wait(look, "the leaf to be issued anew")
    openssl.verify(world.secret(namespace, "web-tls"))
    assert body["status"]["revision"] == 2
    assert [row["state"] for row in world.recorded(body)] == ["superseded", "active"]
    return body


def test_a_policy_that_names_another_ca_after_a_pause(world: World, namespace: str) -> None:
    """Changed while the operator was down: noticed at its start, whatever event comes first."""
    former = _leaf_of(world, namespace, "old")
    world.apply(authority(namespace, "new", ISSUING))
    world.wait_ready(namespace, "new")
    world.stop_controller()
    world.apply(policy(namespace, issued_by("new", namespace)))
    world.start_controller()
    assert _reissued(world, namespace, former)["status"]["issuer"]["name"] == f"{namespace}/new"


def test_a_ca_of_the_same_name_with_another_key(world: World, namespace: str) -> None:
    """Deleted and made again as another CA: its leaves follow it as soon as it is Ready."""
    former = _leaf_of(world, namespace, "ca")
    world.api.delete("Certificate", namespace, "ca")
    world.apply(authority(namespace, "ca", ISSUING, commonName="Another CA"))
    ca = world.wait_ready(namespace, "ca")
    issuer = _reissued(world, namespace, former)["status"]["issuer"]
    assert issuer["keyIdentifier"] == ca["status"]["keyIdentifier"]
    assert issuer["keyIdentifier"] != former["status"]["issuer"]["keyIdentifier"]


def test_the_same_ca_made_again_keeps_its_leaves(world: World, namespace: str) -> None:
    """A backup that was restored has the key that it had: nothing is issued."""
    former = _leaf_of(world, namespace, "ca")
    world.api.delete("Certificate", namespace, "ca")
    world.apply(authority(namespace, "ca", ISSUING))
    world.wait_ready(namespace, "ca")
    # Issued after it by the same workers: had the first been looked at for its issuer, it would show by now.
    world.apply(certificate(namespace, "other", policyRef={"name": namespace}))
    world.wait_ready(namespace, "other")
    assert world.certificate(namespace, "web")["status"]["serialNumber"] == former["status"]["serialNumber"]
