"""What changes in a spec changes what it has to, and nothing else; what falls due is renewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, authority, certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World

pytestmark = pytest.mark.usefixtures("due_soon")

_ASKED = "clm-operator.io/renew-requested-at"


def _serials(world: World, body: Manifest) -> list[str]:
    return [row["serial"] for row in world.recorded(body)]


def _ask_for_renewal(world: World, namespace: str, name: str) -> None:
    # A request is answered by what is issued in its second or later, and the first certificate may be of this second.
    asked = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    world.api.patch("Certificate", namespace, name, {"metadata": {"annotations": {_ASKED: asked}}})


def _wait_revision(world: World, namespace: str, name: str, revision: int) -> Manifest:
    def look() -> Manifest | None:
        body = world.certificate(namespace, name)
        return body if body["status"].get("revision") == revision else None

    return wait(look, f"revision {revision} of {namespace}/{name}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dnsNames", ["web.example.com", "www.example.com"]),
        ("duration", "48h"),
        ("privateKey", {"algorithm": "Ed25519"}),
        ("usages", ["digital signature", "client auth"]),
    ],
)
def test_new_content_is_issued(world: World, namespace: str, field: str, value: Any) -> None:
    """A change of what is certified issues revision 2, and revision 1 is superseded in both databases."""
    world.apply(certificate(namespace, "web"))
    first = world.wait_ready(namespace, "web")
    old = world.secret(namespace, "web-tls")
    world.apply(certificate(namespace, "web", **{field: value}))
    second = world.wait_ready(namespace, "web")
    assert (first["status"]["revision"], second["status"]["revision"]) == (1, 2)
    assert first["status"]["serialNumber"] != second["status"]["serialNumber"]
    new = world.secret(namespace, "web-tls")
    assert new["tls.key"] != old["tls.key"]
    openssl.verify(new)
    openssl.key_fits(new)
    assert openssl.show(new["tls.crt"]).serial == second["status"]["serialNumber"].replace(":", "")
    assert [(row["state"], row["core"]) for row in world.settled(second)] == [("superseded",) * 2, ("active",) * 2]


@pytest.mark.parametrize(
    "change",
    [
        {"secretTemplate": {"labels": {"app": "new"}, "annotations": {"note": "seen"}}},
        {"renewBefore": "100h"},
        {"renewBeforePercentage": 20},
        {"dnsNames": ["www.example.com", "web.example.com"]},
        {"privateKey": {"encoding": "PKCS1"}},
        {"privateKey": {"rotationPolicy": "Never"}},
        {"secretName": "other-tls"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_same_content_is_not_issued_again(world: World, namespace: str, change: dict[str, Any]) -> None:
    """A change of where or how the certificate is written, or when it is renewed, writes that and signs nothing."""
    names = ["web.example.com", "www.example.com"]
    world.apply(certificate(namespace, "web", dnsNames=names))
    first = world.wait_ready(namespace, "web")
    old = world.secret(namespace, "web-tls")
    world.apply(certificate(namespace, "web", **{"dnsNames": names, **change}))
    second = world.wait_ready(namespace, "web")
    assert second["metadata"]["generation"] == 2
    assert second["status"]["serialNumber"] == first["status"]["serialNumber"]
    assert len(world.recorded(second)) == 1
    new = world.secret(namespace, second["spec"]["secretName"])
    assert new["tls.crt"] == old["tls.crt"]
    openssl.key_fits(new)


def test_secret_template(world: World, namespace: str) -> None:
    """Labels and annotations of the template come and change; those that others have put there stay."""
    made = certificate(namespace, "web", secretTemplate={"labels": {"app": "one"}, "annotations": {"note": "a"}})
    world.apply(made)
    world.wait_ready(namespace, "web")
    theirs = {"metadata": {"labels": {"team": "theirs"}, "annotations": {"seen-by": "them"}}}
    world.api.patch("Secret", namespace, "web-tls", theirs)
    made["spec"]["secretTemplate"] = {"labels": {"app": "two"}, "annotations": {"note": "b"}}
    world.apply(made)
    world.wait_ready(namespace, "web")
    secret = world.api.get("Secret", namespace, "web-tls")
    assert secret is not None
    metadata = secret["metadata"]
    assert {"app": "two", "team": "theirs"}.items() <= metadata["labels"].items()
    assert {"note": "b", "seen-by": "them"}.items() <= metadata["annotations"].items()


@pytest.mark.parametrize("rotation", ["Always", "Never"])
def test_renewal_on_request(world: World, namespace: str, rotation: str) -> None:
    """Who asks for a renewal gets exactly one: a new key under rotationPolicy Always, the same one under Never."""
    world.apply(certificate(namespace, "web", privateKey={"rotationPolicy": rotation}))
    world.wait_ready(namespace, "web")
    old = world.secret(namespace, "web-tls")
    _ask_for_renewal(world, namespace, "web")
    body = _wait_revision(world, namespace, "web", 2)
    new = world.secret(namespace, "web-tls")
    assert (new["tls.key"] == old["tls.key"]) is (rotation == "Never")
    openssl.key_fits(new)
    assert openssl.show(new["tls.crt"]).serial == body["status"]["serialNumber"].replace(":", "")
    # Another object, issued after it by the same workers: had the request been taken twice, it would show by now.
    world.apply(certificate(namespace, "other"))
    world.wait_ready(namespace, "other")
    assert len(_serials(world, body)) == 2


def test_a_kept_key_is_kept_only_while_it_is_what_the_spec_asks_for(world: World, namespace: str) -> None:
    """Keeping the key (rotationPolicy Never) is no way around what a Policy demands of keys."""
    world.apply(certificate(namespace, "web", privateKey={"rotationPolicy": "Never"}))
    world.wait_ready(namespace, "web")
    world.apply(certificate(namespace, "web", privateKey={"rotationPolicy": "Never", "algorithm": "RSA", "size": 2048}))
    world.wait_ready(namespace, "web")
    new = world.secret(namespace, "web-tls")
    openssl.key_fits(new)
    assert "rsaEncryption" in openssl.show(new["tls.crt"]).text


def test_another_authority_of_the_same_name_gets_a_key_of_its_own(world: World, namespace: str) -> None:
    """Two CAs that only share a name, one after the other, never share a key; the same CA created again keeps its."""
    world.apply(authority(namespace, "ca", ISSUING))
    first = world.wait_ready(namespace, "ca")
    world.api.delete("Certificate", namespace, "ca")
    world.apply(authority(namespace, "ca", ISSUING))
    again = world.wait_ready(namespace, "ca")
    assert again["status"]["serialNumber"] == first["status"]["serialNumber"]
    world.api.delete("Certificate", namespace, "ca")
    world.apply(authority(namespace, "ca", ISSUING, commonName="Another CA"))
    other = world.wait_ready(namespace, "ca")
    query = "SELECT subject_key_id FROM certificates WHERE id = ANY(%(ids)s::uuid[])"
    ids = [body["status"]["certificateId"] for body in (first, other)]
    keys = {row["subject_key_id"] for row in world.query("secure", query, ids=ids)}
    assert len(keys) == 2
