"""A request that somebody brings: OpenSSL makes key and request, CLM certifies them, and never has the key."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from clm.pki.keys import spki_der
from tests.e2e import openssl
from tests.e2e.api import ApiError
from tests.e2e.manifests import ISSUING, LEAF, authority, certificate, issued_by, policy
from tests.e2e.world import wait
from tests.unit.pki.requests import alternative_names, csr, der_of, extension_request, name, pem, raw_csr

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_CONFIG = """
[req]
distinguished_name = name
req_extensions = extensions
prompt = no
utf8 = yes
[name]
CN = web.shop.svc
OU = Web
O = Bücher & Co
C = DE
[extensions]
subjectAltName = DNS:web.shop.svc, DNS:*.web.shop.svc, IP:10.1.2.3, URI:spiffe://shop/web, email:web@shop.example
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
"""
_SUBJECT = "C=DE,O=Bücher & Co,OU=Web,CN=web.shop.svc"
"""As RFC 4514 writes it, the last first: the order of the request, which is not that of a spec."""
_NAMES = {"DNS:web.shop.svc", "DNS:*.web.shop.svc", "IP Address:10.1.2.3", "URI:spiffe://shop/web"} | {
    "email:web@shop.example"
}
_ASKED = "clm-operator.io/renew-requested-at"
# RFC 6979 A.2.5 has it beside its public half.
_PUBLISHED = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())


def _openssl(folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def _made_by_openssl(folder: Path, config: str, *algorithm: str) -> str:
    """Have OpenSSL make a key and a request for it; give the request."""
    (folder / "config").write_text(config, encoding="utf-8")
    _openssl(
        folder, "genpkey", "-out", "key", "-algorithm", *(algorithm or ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
    )
    return _openssl(folder, "req", "-new", "-key", "key", "-config", "config").decode()


def _with(request: str, namespace: str, object_name: str = "web", **spec: Any) -> Manifest:
    return certificate(namespace, object_name, **{"request": request, "dnsNames": None, **spec})


def _of_openssl(world: World, namespace: str, body: Manifest, folder: Path, *, secret_name: str = "web-tls") -> str:
    """Hold what stands in the Secret against key and request by OpenSSL; give the serial."""
    secret = world.secret(namespace, secret_name)
    assert set(secret) == {"tls.crt", "ca.crt"}
    found = world.api.get("Secret", namespace, secret_name)
    assert found is not None
    assert found["type"] == "Opaque"
    openssl.verify(secret)
    (folder / "certificate").write_bytes(secret["tls.crt"])
    public = _openssl(folder, "pkey", "-in", "key", "-pubout")
    assert _openssl(folder, "x509", "-in", "certificate", "-noout", "-pubkey") == public
    printed = openssl.show(secret["tls.crt"])
    assert printed.serial == body["status"]["serialNumber"].replace(":", "")
    return printed.serial


def test_a_request_that_openssl_made(world: World, namespace: str, tmp_path: Path) -> None:
    """Subject, names and key of the request are certified; the Secret and the record have no key, now and renewed."""
    request = _made_by_openssl(tmp_path, _CONFIG)
    world.apply(_with(request, namespace))
    body = world.wait_ready(namespace, "web")
    first = _of_openssl(world, namespace, body, tmp_path)
    printed = openssl.show(world.secret(namespace, "web-tls")["tls.crt"])
    assert (printed.subject, printed.names) == (_SUBJECT, _NAMES)
    assert printed.usages == {"Digital Signature", "TLS Web Server Authentication"}
    row = world.query(
        "secure",
        "SELECT csr, private_key_id, subject_key_id FROM certificate_requests WHERE resource_uid = %(uid)s",
        uid=body["metadata"]["uid"],
    )
    assert row == [{"csr": der_of(request), "private_key_id": None, "subject_key_id": None}]
    intended = world.query(
        "secure",
        "SELECT details ->> 'csr' AS csr FROM secure_audit_log"
        " WHERE action = 'certificate.intend' AND object_id = %(id)s",
        id=body["status"]["certificateId"],
    )
    assert intended == [{"csr": hashlib.sha256(der_of(request)).hexdigest()}]
    spki = hashlib.sha256(_openssl(tmp_path, "pkey", "-in", "key", "-pubout", "-outform", "DER")).digest()
    assert world.query("secure", "SELECT FROM private_keys WHERE spki_sha256 = %(spki)s", spki=spki) == []
    asked = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    world.api.patch("Certificate", namespace, "web", {"metadata": {"annotations": {_ASKED: asked}}})
    renewed = wait(lambda: _revision(world, namespace, 2), "revision 2")
    assert _of_openssl(world, namespace, renewed, tmp_path) != first


def _revision(world: World, namespace: str, revision: int) -> Manifest | None:
    body = world.certificate(namespace, "web")
    return body if body["status"].get("revision") == revision else None


def test_with_and_without_a_request(world: World, namespace: str) -> None:
    """A Secret keeps its type: the change is refused while it stands, and told how; then it goes on by itself."""
    request = csr(names=[x509.DNSName("web.example.com")], subject=())
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    before = world.secret(namespace, "web-tls")
    world.apply(_with(request, namespace))
    said = world.wait_refused(namespace, "web", "SecretTypeFixed")["message"]
    assert "web-tls is kubernetes.io/tls" in said
    assert "delete it, or set another spec.secretName" in said
    assert world.secret(namespace, "web-tls") == before
    assert len(world.recorded(world.certificate(namespace, "web"))) == 1
    world.api.delete("Secret", namespace, "web-tls")
    world.wait_ready(namespace, "web")
    assert set(world.secret(namespace, "web-tls")) == {"tls.crt", "ca.crt"}
    world.apply(certificate(namespace, "web"))
    assert "web-tls is Opaque" in world.wait_refused(namespace, "web", "SecretTypeFixed")["message"]
    world.apply(certificate(namespace, "web", secretName="other"))
    body = world.wait_ready(namespace, "web")
    openssl.key_fits(world.secret(namespace, "other"))
    assert [row["private_key_id"] is None for row in world.recorded(body)] == [False, True, False]


def _hostile() -> dict[str, tuple[str, str]]:
    """Requests that must bring nothing, by a name, with what is said about each."""
    good = der_of(csr())
    subject = name(("2.5.4.3", 0x0C, b"web"))
    return {
        "wrong-signature": (pem(good.replace(b"web.shop.svc", b"w3b.shop.svc")), "its signature does not verify"),
        "published-key": (csr(key=_PUBLISHED), "its private half is no secret (it is published: RFC 6979 A.2.5)"),
        "old-curve": (csr(key=ec.generate_private_key(ec.SECP224R1())), "not a curve that CLM uses"),
        "unknown-san": (
            raw_csr(subject=subject, attributes=extension_request(alternative_names(b"\x88\x02\x2a\x03"))),
            "subjectAltName[0]: a Certificate has no registeredID",
        ),
        "nul-in-san": (
            raw_csr(subject=subject, attributes=extension_request(alternative_names(b"\x82\x0bweb.a\0.evil"))),
            "is not a DNS name",
        ),
        "nul-in-subject": (raw_csr(subject=name(("2.5.4.3", 0x0C, b"web\0.evil"))), "cannot be printed"),
        "nameless": (raw_csr(), "must have a commonName"),
        "garbage": (pem(b"\x30\x82" * 4000), "is not a PKCS#10 request"),
        "ca": (csr(extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)]), "asks for a CA"),
    }


def test_hostile_requests(world: World, namespace: str) -> None:
    """Each is refused by its field with what is wrong; nothing is recorded, and nothing else suffers."""
    hostile = _hostile()
    for object_name, (request, _) in hostile.items():
        world.apply(_with(request, namespace, object_name))
    for object_name, (_, says) in hostile.items():
        said = world.wait_refused(namespace, object_name, "InvalidSpec")["message"]
        assert said.startswith("spec."), said
        assert says in said
        assert world.recorded(world.certificate(namespace, object_name)) == []
    with pytest.raises(ApiError) as caught:
        world.apply(_with(pem(bytes(1 << 20)), namespace, "huge"))
    assert "spec.request" in str(caught.value)


def test_a_policy_judges_the_request(world: World, namespace: str) -> None:
    """What a Policy forbids is forbidden in a request, and a demand for new keys cannot be met by one."""
    strict = policy(
        namespace,
        issued_by(ISSUING),
        allowed={"dnsNames": {"values": ["*.shop.svc"]}, "usages": ["digital signature", "server auth"]},
        constraints={"privateKey": {"rotationPolicy": "Always", "algorithms": ["RSA"]}},
    )
    world.apply(strict)
    world.apply(_with(csr(names=[x509.DNSName("evil.example.com")]), namespace, policyRef={"name": namespace}))
    said = world.wait_refused(namespace, "web", "PolicyViolation")["message"]
    for part in ("spec.commonName", 'spec.dnsNames[0]: "evil.example.com"', 'spec.request: "ECDSA"', "wants a new key"):
        assert part in said


def test_a_ca_whose_key_is_elsewhere(world: World, namespace: str, tmp_path: Path) -> None:
    """Somebody else's CA is certified where the Policy allows it; it issues by itself, and never under CLM."""
    config = "[req]\ndistinguished_name=name\nprompt=no\n[name]\nO=Elsewhere\nCN=Elsewhere CA\n"
    request = _made_by_openssl(tmp_path, config, "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    sub = authority(namespace, "sub", ISSUING, request=request, commonName=None, maxPathLen=0, duration="8760h")
    world.apply(sub)
    body = world.wait_ready(namespace, "sub")
    _of_openssl(world, namespace, body, tmp_path, secret_name="sub")
    printed = openssl.show(world.secret(namespace, "sub")["tls.crt"])
    assert printed.extensions["Basic Constraints"] == "CA:TRUE, pathlen:0"
    leaf = _openssl(
        tmp_path, "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "leaf.key", "-subj", "/CN=leaf",
        "-CA", "certificate", "-CAkey", "key", "-days", "1", "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature",
    )  # fmt: skip
    secret = world.secret(namespace, "sub")
    openssl.verify({"tls.crt": leaf + secret["tls.crt"], "ca.crt": secret["ca.crt"]})
    world.apply(policy(namespace, issued_by("sub", namespace)))
    world.apply(certificate(namespace, "below", policyRef={"name": namespace}))
    assert "its key is not in the HSM" in world.wait_refused(namespace, "below", "IssuerNotReady")["message"]


def test_a_key_that_was_revoked_as_compromised(world: World, namespace: str) -> None:
    """What was compromised once is certified for nobody any more."""
    request = csr(key=ec.generate_private_key(ec.SECP256R1()), names=[x509.DNSName("web.example.com")])
    world.apply(_with(request, namespace))
    world.wait_ready(namespace, "web")
    world.apply(_with(request, namespace, revocation={"reason": "keyCompromise"}))
    world.wait_refused(namespace, "web", "Revoked")
    world.apply(_with(request, namespace, "again", policyRef={"name": LEAF}))
    assert "was compromised" in world.wait_refused(namespace, "again", "InvalidSpec")["message"]


def test_the_installation_has_a_list_of_keys(world: World, namespace: str, tmp_path: Path) -> None:
    """A key on it is refused by the setting's file as it is at that moment; without the file nothing passes."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = csr(key=key, names=[x509.DNSName("web.example.com")], subject=())
    listed = tmp_path / "blocked"
    listed.write_text(hashlib.sha256(spki_der(key.public_key())).hexdigest())
    settings = world.settings
    world.stop_controller()
    world.controller.start({**settings, "CLM_BLOCKED_KEYS_FILE": str(listed)})
    try:
        world.apply(_with(request, namespace))
        assert "list of blocked keys" in world.wait_refused(namespace, "web", "InvalidSpec")["message"]
        listed.unlink()
        world.apply(_with(request, namespace, "other"))
        wait(lambda: f"{listed}: " in world.log or None, "the log to tell of the list that is missing")
        assert world.recorded(world.certificate(namespace, "other")) == []
        listed.write_text("")
        world.wait_ready(namespace, "other")
    finally:
        world.stop_controller()
        world.controller.start(settings)
