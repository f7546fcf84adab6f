"""Keystores, as Java opens them: their passwords in the spec or in a Secret, kept true, and never written in vain."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests import keytool
from tests.e2e import openssl
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_FIRST, _SECOND, _INLINE = "Kx7-first-password", "Kx7-second-password", "Kx7-inline-password"
_FILES = ("keystore.jks", "truststore.jks", "keystore.p12", "truststore.p12")
_KEYSTORES: dict[str, Any] = {
    "jks": {"create": True, "alias": "Web", "passwordSecretRef": {"name": "keystore", "key": "jks"}},
    "pkcs12": {"create": True, "profile": "LegacyDES", "password": _INLINE},
}


def _password_secret(namespace: str, **passwords: str) -> Manifest:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in passwords.items()}
    metadata = {"namespace": namespace, "name": "keystore"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def _opened(world: World, namespace: str, password: str) -> dict[str, bytes]:
    """Read the Secret `web-tls`, whose keystores have to open and to hold what the PEM files hold."""
    secret = world.secret(namespace, "web-tls")
    openssl.verify(secret)
    openssl.key_fits(secret)
    chain, root = tuple(openssl.split(secret["tls.crt"])), tuple(openssl.split(secret["ca.crt"]))
    trusted = keytool.Entry(trusted=True, certificates=root)
    assert keytool.entries(secret["keystore.jks"], password) == {"web": keytool.Entry(False, chain), "ca": trusted}
    assert keytool.entries(secret["truststore.jks"], password) == {"ca": trusted}
    assert keytool.entries(secret["keystore.p12"], _INLINE) == {"1": keytool.Entry(False, chain + root)}
    assert keytool.entries(secret["truststore.p12"], _INLINE) == {"ca": trusted}
    key = keytool.private_key(secret["keystore.jks"], password, alias="web")
    openssl.key_fits({**secret, "tls.key": key})
    openssl.key_fits({**secret, "tls.key": keytool.pkcs12(secret["keystore.p12"], _INLINE, "-nocerts", "-legacy")})
    return secret


def test_keystores(world: World, namespace: str) -> None:
    """They wait for the password's Secret, follow its changes, and go when they are not asked for; one certificate."""
    world.apply(certificate(namespace, "web", keystores=_KEYSTORES))
    said = world.wait_refused(namespace, "web", "KeystorePasswordNotFound")
    assert "spec.keystores.jks.passwordSecretRef.name: there is no Secret keystore" in said["message"]
    assert world.condition(namespace, "web", "Reconciling") is not None
    assert world.api.get("Secret", namespace, "web-tls") is None
    assert world.recorded(world.certificate(namespace, "web")) == []

    world.apply(_password_secret(namespace, jks=_FIRST))
    body = world.wait_ready(namespace, "web", timeout_s=90)
    first = _opened(world, namespace, _FIRST)

    world.apply(_password_secret(namespace, jks=_SECOND))
    wait(
        lambda: True if world.secret(namespace, "web-tls")["keystore.jks"] != first["keystore.jks"] else None,
        "another password",
    )
    second = world.secret(namespace, "web-tls")
    assert keytool.entries(second["keystore.jks"], _SECOND).keys() == {"web", "ca"}
    assert {name for name in second if second[name] != first[name]} == {"keystore.jks", "truststore.jks"}

    world.api.patch("Certificate", namespace, "web", {"spec": {"keystores": None}})
    last = world.wait_ready(namespace, "web")
    assert set(world.secret(namespace, "web-tls")) == set(second) - set(_FILES)
    assert "keystorePasswords" not in last["status"]
    assert last["status"]["serialNumber"] == body["status"]["serialNumber"]
    assert len(world.recorded(last)) == 1
    _assert_nowhere(world, namespace)


def _assert_nowhere(world: World, namespace: str) -> None:
    """Hold that no password is anywhere but in its Secret and in the spec that its owner wrote it into."""
    events = str(world.api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"))
    secret = world.api.get("Secret", namespace, "web-tls") or {}
    status = world.certificate(namespace, "web")["status"]
    audits = [
        world.query("secure", "SELECT details::text FROM secure_audit_log"),
        world.query("core", "SELECT details::text FROM audit_log"),
        world.query("secure", "SELECT to_jsonb(r)::text AS row FROM certificate_requests r"),
    ]
    places = (world.log, events, str(secret["metadata"]), str(status), str(audits))
    assert [place for place in places for password in (_FIRST, _SECOND, _INLINE) if password in place] == []


def test_a_keystore_that_is_right_is_not_written(world: World, namespace: str) -> None:
    """A restart and a close look leave it as it is; what is changed or lost comes back byte for byte."""
    world.apply(_password_secret(namespace, jks=_FIRST))
    world.apply(certificate(namespace, "web", keystores=_KEYSTORES))
    body = world.wait_ready(namespace, "web")
    standing = world.api.get("Secret", namespace, "web-tls") or {}

    world.restart_controller()
    # A change of the password's Secret that is none of the password has it looked at closely, and its version noted.
    seen = body["status"]["keystorePasswords"]
    world.api.patch("Secret", namespace, "keystore", {"metadata": {"labels": {"team": "theirs"}}})

    def looked() -> Manifest | None:
        now = world.certificate(namespace, "web")
        return now if now["status"]["keystorePasswords"] != seen else None

    after = wait(looked, "the version of the password's Secret to be noted")
    assert world.api.get("Secret", namespace, "web-tls") == standing
    assert after["status"]["secret"] == body["status"]["secret"]

    junk = base64.b64encode(b"junk").decode()
    world.api.patch("Secret", namespace, "web-tls", {"data": {"keystore.p12": junk, "truststore.jks": None}})
    world.wait_secret(standing)
    world.api.delete("Secret", namespace, "web-tls")
    world.wait_secret(standing)
    # The same object again takes the certificate over.
    world.api.delete("Certificate", namespace, "web")
    world.apply(certificate(namespace, "web", keystores=_KEYSTORES))
    adopted = world.wait_ready(namespace, "web")
    assert adopted["status"]["serialNumber"] == body["status"]["serialNumber"]
    world.wait_secret(standing)

    # Without its password it cannot be held against anything, which is said; what stands stays.
    world.api.delete("Secret", namespace, "keystore")
    said = world.wait_refused(namespace, "web", "KeystorePasswordNotFound")
    assert "spec.keystores.jks.passwordSecretRef.name" in said["message"]
    world.wait_secret(standing)


def test_password_that_cannot_be_one(world: World, namespace: str) -> None:
    """The condition says what is wrong with it, and does not show it."""
    world.apply(_password_secret(namespace, password="Kx7-with-a-line-break\n"))
    in_secret, in_spec = {"passwordSecretRef": {"name": "keystore"}}, {"password": _INLINE}
    keystores = {"pkcs12": {"create": True, **in_secret}, "jks": {"create": True, **in_spec}}
    world.apply(certificate(namespace, "web", keystores=keystores))
    said = world.wait_refused(namespace, "web", "KeystorePasswordInvalid")
    assert (
        "spec.keystores.pkcs12.passwordSecretRef: password of the Secret keystore ends with a line" in said["message"]
    )
    assert "Kx7" not in said["message"]
    world.apply(_password_secret(namespace, password="Kx7-without"))
    world.wait_ready(namespace, "web", timeout_s=90)
    secret = world.secret(namespace, "web-tls")
    assert keytool.entries(secret["keystore.p12"], "Kx7-without").keys() == {"1"}
    assert keytool.entries(secret["keystore.jks"], _INLINE).keys() == {"certificate", "ca"}
