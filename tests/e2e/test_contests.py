"""Who else wants a Secret: a writer that keeps changing it, and a Certificate that asks for the same name."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e import openssl
from tests.e2e.api import Api
from tests.e2e.manifests import certificate
from tests.e2e.world import condition, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_PAUSE_S = 0.02
_OURS = ("PATCH secrets", "POST secrets", "PATCH certificates/")


@contextmanager
def _hostile(world: World, secret: Manifest) -> Iterator[None]:
    """Have somebody replace the key in a Secret again and again, whatever it holds by then."""
    metadata = secret["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}?fieldManager=hostile"
    kept = {key: metadata[key] for key in ("name", "namespace", "labels", "annotations")}
    stop = threading.Event()

    def write() -> None:
        own = Api(world.server, world.identities)
        number = 0
        while not stop.wait(_PAUSE_S):
            number += 1
            text = {"tls.key": f"hostile {number}"}
            own.request("PUT", path, {**secret, "metadata": kept, "stringData": text})
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def _writes(world: World) -> int:
    """Count the operator's own: patches and creations of Secrets, refused ones too, and patches of statuses."""
    counted = world.api.writes()
    return sum(number for what, number in counted.items() if what.startswith(_OURS))


def test_a_hostile_writer_is_answered_slowly_and_named(world: World, namespace: str) -> None:
    """Fifty foreign writes a second cause a handful of ours; the status names the writer and the next repair.

    A restart goes on in the same pace, and a changed spec starts anew.
    """
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    secret = world.api.get("Secret", namespace, "web-tls")
    assert secret is not None
    before = _writes(world)

    def contested() -> Manifest | None:
        body = world.certificate(namespace, "web")
        return body if condition(body, "SecretContested") is not None else None

    with _hostile(world, secret):
        body = wait(contested, "the contest to be told")
        world.restart_controller()
        message = (condition(body, "SecretContested") or {})["message"]
        assert "hostile (Update at " in message
        assert body["status"]["secret"]["repairs"] >= 3
        # The next repair is minutes away, also for the operator that has just started.
        world.apply(certificate(namespace, "other"))
        world.wait_ready(namespace, "other")
    ours = _writes(world) - before - 2  # those of the other Certificate
    assert 3 <= ours <= 10, ours
    assert world.secret(namespace, "web-tls")["tls.key"].startswith(b"hostile")
    world.apply(certificate(namespace, "web", secretTemplate={"labels": {"tried": "again"}}))
    mended = wait(lambda: _uncontested(world, namespace), "the contest to be over")
    assert "repairs" not in mended["status"]["secret"]
    openssl.key_fits(world.secret(namespace, "web-tls"))


def _uncontested(world: World, namespace: str) -> Manifest | None:
    body = world.wait_ready(namespace, "web")
    kinds = {entry["type"] for entry in body["status"]["conditions"]}
    return None if "SecretContested" in kinds else body


def test_two_certificates_with_one_secret(world: World, namespace: str) -> None:
    """The older one has it, the other is told whose it is, issues nothing, and takes over when the owner is gone."""
    world.apply(certificate(namespace, "web", secretName="shared"))
    owner = world.wait_ready(namespace, "web")
    younger = world.apply(certificate(namespace, "web-2", secretName="shared"))
    message = world.wait_refused(namespace, "web-2", "SecretConflict")["message"]
    assert "belongs to Certificate web," in message
    assert world.recorded(younger) == []
    assert world.wait_ready(namespace, "web")["status"]["secret"] == owner["status"]["secret"]

    world.api.delete("Certificate", namespace, "web")
    body = world.wait_ready(namespace, "web-2")
    shown = openssl.show(world.secret(namespace, "shared")["tls.crt"])
    assert shown.names == {"DNS:web-2.example.com"}
    # And it takes another name: the next one in line has the Secret then.
    world.apply(certificate(namespace, "web-3", secretName="shared"))
    world.wait_refused(namespace, "web-3", "SecretConflict")
    world.apply(certificate(namespace, "web-2", secretName="own"))
    world.wait_ready(namespace, "web-3")
    assert openssl.show(world.secret(namespace, "shared")["tls.crt"]).names == {"DNS:web-3.example.com"}
    assert openssl.show(world.secret(namespace, "own")["tls.crt"]).names == {"DNS:web-2.example.com"}
    assert len(world.recorded(body)) == 1
