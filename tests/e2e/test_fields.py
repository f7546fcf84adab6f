"""Fields that shape a certificate beyond its names: what is asked for stands in it, as read back by OpenSSL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, certificate, issued_by, policy

if TYPE_CHECKING:
    from tests.e2e.world import World

_OWN_USAGE = "1.3.6.1.4.1.55555.1.7"


def test_usages_by_object_identifier(world: World, namespace: str) -> None:
    """A usage without a name is written as it is, where the Policy names it; one with a name is that usage."""
    allowed = {"dnsNames": {"values": ["*"]}, "usages": ["digital signature", "client auth", _OWN_USAGE]}
    world.apply(policy(namespace, issued_by(ISSUING), allowed=allowed))
    asked = ["digital signature", "1.3.6.1.5.5.7.3.2", _OWN_USAGE]
    world.apply(certificate(namespace, "own", policyRef={"name": namespace}, usages=asked))
    world.wait_ready(namespace, "own")
    secret = world.secret(namespace, "own-tls")
    openssl.verify(secret, purpose="sslclient")
    expected = {"Digital Signature", "TLS Web Client Authentication", _OWN_USAGE}
    assert openssl.show(secret["tls.crt"]).usages == expected
    world.apply(certificate(namespace, "other", policyRef={"name": namespace}, usages=[*asked, f"{_OWN_USAGE}.1"]))
    assert f'"{_OWN_USAGE}.1" is not allowed' in world.wait_refused(namespace, "other", "PolicyViolation")["message"]


def test_signature_algorithm(world: World, namespace: str) -> None:
    """The hash that is asked for is signed with, if the issuing CA's key can; else the field and the CA are named."""
    world.apply(certificate(namespace, "web", signatureAlgorithm="SHA384WithRSA"))
    message = world.wait_refused(namespace, "web", "InvalidSpec")["message"]
    assert message.startswith("spec.signatureAlgorithm: SHA384WithRSA is not what clm-system/e2e-issuing signs with")
    world.apply(certificate(namespace, "web", signatureAlgorithm="ECDSAWithSHA512"))
    world.wait_ready(namespace, "web")
    secret = world.secret(namespace, "web-tls")
    openssl.verify(secret)
    assert openssl.show(secret["tls.crt"]).text.count("Signature Algorithm: ecdsa-with-SHA512") == 2


def test_the_largest_rsa_key(world: World, namespace: str) -> None:
    """RSA keys have up to 8192 bits, as in cert-manager. What is about its request objects is accepted."""
    key = {"algorithm": "RSA", "size": 8192}
    world.apply(certificate(namespace, "big", privateKey=key, revisionHistoryLimit=3, encodeUsagesInRequest=False))
    world.wait_ready(namespace, "big", timeout_s=300)
    secret = world.secret(namespace, "big-tls")
    openssl.key_fits(secret)
    assert "Public-Key: (8192 bit)" in openssl.show(secret["tls.crt"]).text
