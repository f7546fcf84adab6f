"""What is asked for is what is issued, as read back by OpenSSL."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e import openssl
from tests.e2e.manifests import LEAF_USAGES, UPN, authority, certificate, issued_by, policy

if TYPE_CHECKING:
    from tests.e2e.world import World

_EXAMPLES = Path(__file__).parents[2] / "examples"
_EVERY_NAME: dict[str, Any] = {
    "commonName": "all.example.com",
    "dnsNames": ["all.example.com", "*.all.example.com", "xn--bcher-kva.example"],
    "ipAddresses": ["10.1.2.3", "2001:db8::7"],
    "uris": ["spiffe://cluster.local/ns/a/sa/b", "https://example.com/a?b=c"],
    "emailAddresses": ["alice@example.com"],
    "otherNames": [{"oid": UPN, "utf8Value": "alice@corp.example"}],
    "subject": {
        "organizations": ["Bücher & Co, Ltd"],
        "countries": ["DE"],
        "organizationalUnits": ["One", "Two"],
        "localities": ["Köln"],
        "provinces": ["NRW"],
        "streetAddresses": ["Weg 1"],
        "postalCodes": ["50667"],
        "serialNumber": "42",
    },
    "duration": "36h",
    "usages": LEAF_USAGES,
    "privateKey": {"algorithm": "RSA", "size": 2048},
}
_ALGORITHMS = [
    ("RSA", 2048, "Public-Key: (2048 bit)", "RSA PRIVATE KEY"),
    ("RSA", 3072, "Public-Key: (3072 bit)", "RSA PRIVATE KEY"),
    ("RSA", 4096, "Public-Key: (4096 bit)", "RSA PRIVATE KEY"),
    ("ECDSA", 256, "ASN1 OID: prime256v1", "EC PRIVATE KEY"),
    ("ECDSA", 384, "ASN1 OID: secp384r1", "EC PRIVATE KEY"),
    ("ECDSA", 521, "ASN1 OID: secp521r1", "EC PRIVATE KEY"),
    ("Ed25519", None, "Public Key Algorithm: ED25519", "PRIVATE KEY"),
]


def test_examples(world: World) -> None:
    """Every example becomes Ready, and its chain holds up under strict verification."""
    applied = []
    for file in sorted(_EXAMPLES.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            world.apply(document)
            applied += [document] if document["kind"] == "Certificate" else []
    assert len(applied) == 7
    for document in applied:
        metadata = document["metadata"]
        world.wait_ready(metadata["namespace"], metadata["name"])
        openssl.verify(world.secret(metadata["namespace"], document["spec"]["secretName"]))


def test_every_kind_of_name(world: World, namespace: str) -> None:
    """Names of every kind, the whole subject, usages and lifetime stand in the certificate as they were written."""
    world.apply(certificate(namespace, "all", **_EVERY_NAME))
    status = world.wait_ready(namespace, "all")["status"]
    secret = world.api.get("Secret", namespace, "all-tls")
    assert secret is not None
    assert secret["type"] == "kubernetes.io/tls"
    data = world.secret(namespace, "all-tls")
    openssl.verify(data, purpose="sslserver")
    openssl.key_fits(data)
    leaf = openssl.show(data["tls.crt"])
    assert leaf.names == {
        "DNS:all.example.com",
        "DNS:*.all.example.com",
        "DNS:xn--bcher-kva.example",
        "IP Address:10.1.2.3",
        "IP Address:2001:DB8:0:0:0:0:0:7",
        "URI:spiffe://cluster.local/ns/a/sa/b",
        "URI:https://example.com/a?b=c",
        "email:alice@example.com",
        "othername: UPN::alice@corp.example",
    }
    assert set(leaf.subject.replace("\\,", ";").split(",")) == {
        "CN=all.example.com",
        "O=Bücher & Co; Ltd",
        "C=DE",
        "OU=One",
        "OU=Two",
        "L=Köln",
        "ST=NRW",
        "street=Weg 1",
        "postalCode=50667",
        "serialNumber=42",
    }
    assert leaf.usages == {
        "Digital Signature",
        "Key Encipherment",
        "TLS Web Server Authentication",
        "TLS Web Client Authentication",
    }
    assert leaf.lifetime == timedelta(hours=36)
    assert leaf.extensions["Basic Constraints"] == "CA:FALSE"
    assert leaf.serial == status["serialNumber"].replace(":", "")
    assert "CN=E2E e2e-issuing" in leaf.issuer


@pytest.mark.parametrize("encoding", ["PKCS1", "PKCS8"])
@pytest.mark.parametrize(("algorithm", "size", "printed", "traditional"), _ALGORITHMS)
def test_every_key(
    world: World, namespace: str, algorithm: str, size: int | None, printed: str, traditional: str, encoding: str
) -> None:
    """Every algorithm and size is what the certificate holds, and `tls.key` is written in the encoding asked for."""
    key: dict[str, Any] = {"algorithm": algorithm, "encoding": encoding, **({"size": size} if size else {})}
    world.apply(certificate(namespace, "key", privateKey=key))
    world.wait_ready(namespace, "key")
    secret = world.secret(namespace, "key-tls")
    openssl.verify(secret)
    openssl.key_fits(secret)
    assert printed in openssl.show(secret["tls.crt"]).text
    header = traditional if encoding == "PKCS1" else "PRIVATE KEY"
    assert secret["tls.key"].startswith(f"-----BEGIN {header}-----\n".encode())


def test_authority_below_authority(world: World, namespace: str) -> None:
    """A CA with constraints and a path length issues a CA below it, and that one a leaf; OpenSSL accepts the chain.

    The constrained CA must be above what it constrains, so this grows a root of its own.
    """
    roots, upper, lower = (f"{namespace}-{name}" for name in ("root", "upper", "lower"))
    world.apply(policy(roots, {"selfSigned": {}}))
    world.apply(authority(namespace, "root", roots, duration="87600h"))
    world.apply(policy(upper, issued_by("root", namespace)))
    constraints = {
        "critical": True,
        "permitted": {"dnsDomains": ["example.com"], "ipRanges": ["10.0.0.0/8"]},
        "excluded": {"dnsDomains": ["secret.example.com"]},
    }
    world.apply(authority(namespace, "upper", upper, maxPathLen=1, nameConstraints=constraints))
    world.apply(policy(lower, issued_by("upper", namespace)))
    world.apply(authority(namespace, "lower", lower, maxPathLen=0, duration="8760h"))
    world.apply(policy(namespace, issued_by("lower", namespace)))
    world.apply(certificate(namespace, "leaf", policyRef={"name": namespace}, ipAddresses=["10.9.8.7"]))
    world.wait_ready(namespace, "leaf")
    secret = world.secret(namespace, "leaf-tls")
    openssl.verify(secret)
    shown = [openssl.show(pem) for pem in openssl.split(secret["tls.crt"])]
    assert [each.subject for each in shown[1:]] == ["CN=E2E lower", "CN=E2E upper"]
    assert [each.extensions["Basic Constraints"] for each in shown[1:]] == ["CA:TRUE, pathlen:0", "CA:TRUE, pathlen:1"]
    written = " ".join(shown[2].extensions["Name Constraints"].split())
    assert written == ("Permitted: DNS:example.com IP:10.0.0.0/255.0.0.0 Excluded: DNS:secret.example.com")
    assert openssl.show(secret["ca.crt"]).subject == "CN=E2E root"


@pytest.mark.parametrize(
    ("names", "named"),
    [
        ({"dnsNames": ["www.example.org"]}, '"www.example.org"'),
        ({"dnsNames": ["a.secret.example.com"]}, '"a.secret.example.com"'),
        ({"dnsNames": None, "commonName": "www.example.org", "usages": ["client auth"]}, "spec.commonName"),
    ],
)
def test_outside_the_constraints(world: World, namespace: str, names: dict[str, Any], named: str) -> None:
    """A leaf whose name its CA's constraints exclude is not issued: every verifier would reject it."""
    roots = f"{namespace}-root"
    world.apply(policy(roots, {"selfSigned": {}}))
    constraints = {
        "permitted": {"dnsDomains": ["example.com"]},
        "excluded": {"dnsDomains": ["secret.example.com"]},
    }
    world.apply(authority(namespace, "ca", roots, nameConstraints=constraints))
    world.apply(policy(namespace, issued_by("ca", namespace)))
    made = world.apply(certificate(namespace, "leaf", policyRef={"name": namespace}, **names))
    assert named in world.wait_refused(namespace, "leaf", "LintFailed")["message"]
    assert world.recorded(made) == []
