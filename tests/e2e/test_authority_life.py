"""A CA is renewed with its key: nothing is issued anew, and every Secret below it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import keytool
from tests.e2e import openssl
from tests.e2e.manifests import CA_NAMESPACE, ISSUING, ROOT, authority, certificate, issued_by, policy
from tests.e2e.renewing import renew
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World


def _wait_chain(world: World, namespace: str, name: str, *authorities: Manifest) -> dict[str, bytes]:
    """Wait until a Secret stands under these CA certificates; give its data."""
    wanted = [body["status"]["certificateId"] for body in authorities]
    wait(
        lambda: world.certificate(namespace, name)["status"]["issuer"]["chain"] == wanted or None,
        f"{name} to follow its CAs",
        last=lambda: str(world.certificate(namespace, name)["status"]["issuer"]),
    )
    return world.secret(namespace, f"{name}-tls")


def test_leaves_follow_their_renewed_cas_on_two_levels(world: World, namespace: str) -> None:
    """Root, then intermediate: chain and ca.crt of the leaf are the new ones, its serial, key and Ready stay."""
    top, middle, bottom = (f"{namespace}-{level}" for level in ("top", "middle", "bottom"))
    world.apply(policy(top, {"selfSigned": {}}))
    world.apply(policy(middle, issued_by("top", namespace)))
    world.apply(policy(bottom, issued_by("middle", namespace)))
    world.apply(authority(namespace, "top", top, duration="87600h"))
    world.apply(authority(namespace, "middle", middle))
    key_of_top = world.wait_ready(namespace, "top")["status"]["keyIdentifier"]
    keystores = {"pkcs12": {"create": True, "password": "changeit"}}
    world.apply(certificate(namespace, "web", policyRef={"name": bottom}, keystores=keystores))
    leaf = world.wait_ready(namespace, "web")
    before = world.secret(namespace, "web-tls")
    openssl.verify(before)
    root = world.secret(namespace, "top")
    assert root["tls.crt"] == root["ca.crt"] == before["ca.crt"]
    assert world.secret(namespace, "middle")["ca.crt"] == root["ca.crt"]

    new_top = renew(world, namespace, "top")
    assert new_top["status"]["keyIdentifier"] == key_of_top
    after = _wait_chain(world, namespace, "web", world.certificate(namespace, "middle"), new_top)
    assert after["ca.crt"] == world.secret(namespace, "top")["tls.crt"] != before["ca.crt"]
    assert after["tls.crt"] == before["tls.crt"]
    openssl.verify(after)

    new_middle = renew(world, namespace, "middle")
    last = _wait_chain(world, namespace, "web", new_middle, new_top)
    openssl.verify(last)
    assert last["tls.crt"] != after["tls.crt"]
    assert last["tls.crt"].endswith(world.secret(namespace, "middle")["tls.crt"])
    assert last["tls.key"] == before["tls.key"]
    in_keystore = openssl.split(keytool.pkcs12(last["keystore.p12"], "changeit", "-nokeys"))
    assert in_keystore == openssl.split(last["tls.crt"] + last["ca.crt"])
    body = world.wait_ready(namespace, "web")
    assert body["status"]["serialNumber"] == leaf["status"]["serialNumber"]
    assert [row["state"] for row in world.recorded(body)] == ["active"]


def test_no_certificate_outlives_its_issuer(world: World, namespace: str) -> None:
    """RFC 5280 demands it of no one, and every path that is validated does: the leaf ends when its CA does."""
    world.apply(policy(namespace, issued_by("short", namespace)))
    world.apply(authority(namespace, "short", ISSUING, duration="2h"))
    world.apply(certificate(namespace, "web", duration="720h", policyRef={"name": namespace}))
    leaf = world.wait_ready(namespace, "web")
    former = world.certificate(namespace, "short")["status"]["notAfter"]
    assert leaf["status"]["notAfter"] == former
    assert leaf["status"]["renewalTime"] < former
    # Its CA lives longer now: the leaf stands under it, and gets its whole lifetime when it is due, not before.
    renewed = renew(world, namespace, "short")
    assert renewed["status"]["notAfter"] > former
    _wait_chain(world, namespace, "web", renewed, world.certificate(CA_NAMESPACE, ROOT))
    assert world.certificate(namespace, "web")["status"]["serialNumber"] == leaf["status"]["serialNumber"]
