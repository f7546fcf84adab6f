"""The Secret is what the record says, whatever happens to it; the certificate outlives the object."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.e2e import openssl
from tests.e2e.manifests import certificate
from tests.e2e.world import data_of, wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_HARM: dict[str, dict[str, Any] | None] = {
    "deleted": None,
    "emptied": {"data": {"tls.crt": "", "tls.key": ""}},
    "changed": {"data": {"tls.key": base64.b64encode(b"another key").decode()}},
    "added-to": {"data": {"extra": base64.b64encode(b"not ours").decode()}},
    "misled": {"metadata": {"annotations": {"clm-operator.io/revision": "99"}}},
    "disowned": {"metadata": {"labels": {"clm-operator.io/managed": None}}},
    "renamed": {"metadata": {"annotations": {"clm-operator.io/certificate-name": "other"}}},
}


def _issue(world: World, namespace: str) -> dict[str, tuple[Manifest, Manifest]]:
    """Issue a certificate for each kind of harm; give it and its Secret."""
    for name in _HARM:
        world.apply(certificate(namespace, name))
    made = {name: world.wait_ready(namespace, name) for name in _HARM}
    return {name: (body, world.api.get("Secret", namespace, f"{name}-tls") or {}) for name, body in made.items()}


def _harm(world: World, namespace: str) -> None:
    for name, patch in _HARM.items():
        if patch is None:
            world.api.delete("Secret", namespace, f"{name}-tls")
        else:
            world.api.patch("Secret", namespace, f"{name}-tls", patch)


def _assert_mended(world: World, namespace: str, made: dict[str, tuple[Manifest, Manifest]]) -> None:
    for name, (body, secret) in made.items():
        world.wait_secret(secret)
        ready = world.wait_ready(namespace, name)
        assert ready["status"]["serialNumber"] == body["status"]["serialNumber"]
        assert len(world.recorded(ready)) == 1


def test_harm_is_mended(world: World, namespace: str) -> None:
    """A Secret that is deleted or edited is published again from the record: same key, same serial."""
    made = _issue(world, namespace)
    _harm(world, namespace)
    _assert_mended(world, namespace, made)


def test_harm_in_absence_is_mended(world: World, namespace: str) -> None:
    """The same for what happened while no operator ran."""
    made = _issue(world, namespace)
    world.stop_controller()
    _harm(world, namespace)
    world.start_controller()
    _assert_mended(world, namespace, made)


def test_deleted_object_leaves_its_certificate(world: World, namespace: str) -> None:
    """Without its object the Secret and the certificate stay; the same object again adopts them, nothing is signed."""
    manifest = certificate(namespace, "web", privateKey={"algorithm": "Ed25519"})
    world.apply(manifest)
    first = world.wait_ready(namespace, "web")
    before = world.api.get("Secret", namespace, "web-tls")
    world.api.delete("Certificate", namespace, "web")
    # What is done after the deletion has been taken in: an object that comes later is Ready.
    world.apply(certificate(namespace, "later"))
    world.wait_ready(namespace, "later")
    assert world.api.get("Secret", namespace, "web-tls") == before
    assert [row["state"] for row in world.settled(first)] == ["active"]
    world.apply(manifest)
    second = world.wait_ready(namespace, "web")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["serialNumber"] == first["status"]["serialNumber"]
    assert _sound(world, namespace) == data_of(before or {})
    assert [row["state"] for row in world.settled(second)] == ["active"]


def _sound(world: World, namespace: str) -> dict[str, bytes]:
    """Read the Secret `web-tls`, whose chain and key have to hold."""
    data = world.secret(namespace, "web-tls")
    openssl.verify(data)
    openssl.key_fits(data)
    return data


def test_other_object_of_that_name(world: World, namespace: str) -> None:
    """An object created again with another spec gets a new certificate, and the old one is superseded."""
    world.apply(certificate(namespace, "web"))
    first = world.wait_ready(namespace, "web")
    world.api.delete("Certificate", namespace, "web")
    world.apply(certificate(namespace, "web", dnsNames=["other.example.com"]))
    second = world.wait_ready(namespace, "web")
    assert second["status"]["serialNumber"] != first["status"]["serialNumber"]
    assert openssl.show(_sound(world, namespace)["tls.crt"]).names == {"DNS:other.example.com"}
    assert [row["state"] for row in world.settled(second)] == ["superseded", "active"]


def test_restored_object_after_a_restart(world: World, namespace: str) -> None:
    """Deleted and created again while no operator ran, as a restore does: the live certificate is adopted."""
    manifest = certificate(namespace, "web")
    world.apply(manifest)
    first = world.wait_ready(namespace, "web")
    world.stop_controller()
    world.api.delete("Certificate", namespace, "web")
    world.api.delete("Secret", namespace, "web-tls")
    world.apply(manifest)
    world.start_controller()
    second = world.wait_ready(namespace, "web")
    assert second["status"]["serialNumber"] == first["status"]["serialNumber"]
    _sound(world, namespace)


def test_what_others_may_write_is_no_repair(world: World, namespace: str) -> None:
    """A label of another controller stays, and costs no write of ours; a deletion after it is still mended at once."""
    world.apply(certificate(namespace, "web"))
    before = world.wait_ready(namespace, "web")
    labels = {"other": "stays"}
    for number in range(3):
        labels["number"] = str(number)
        world.api.patch("Secret", namespace, "web-tls", {"metadata": {"labels": labels}})
    world.apply(certificate(namespace, "later"))
    world.wait_ready(namespace, "later")
    world.wait_settled(certificates=2)
    assert world.certificate(namespace, "web")["status"] == before["status"]
    secret = world.api.get("Secret", namespace, "web-tls")
    assert secret is not None
    assert labels.items() <= secret["metadata"]["labels"].items()
    world.api.delete("Secret", namespace, "web-tls")
    wait(lambda: world.api.get("Secret", namespace, "web-tls"), "the Secret to be back")
    assert data_of(world.api.get("Secret", namespace, "web-tls") or {}) == data_of(secret)
