"""No key that CLM signs with leaves the token, and no leaf key lies in the clear outside its one Secret."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from clm.dev.databases import DATABASES, DevDatabase
from tests.e2e.manifests import CA_NAMESPACE, ISSUING, ROOT, certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from tests.e2e.world import World


def test_keys_stay_in_the_token(world: World) -> None:
    """Every CA key and key-encryption key is in the token, and every way to take it out is refused."""
    rows = world.query(
        "secure", "SELECT id, purpose FROM encryption_keys WHERE state = 'active' AND purpose IN ('ca-signing', 'kek')"
    )
    assert {row["purpose"] for row in rows} == {"ca-signing", "kek"}
    done = world.program("tests.e2e.extraction", *(str(row["id"]) for row in rows))
    assert done.returncode == 0, done.stderr
    tried = json.loads(done.stdout)
    assert len(tried) == len(rows)
    for key_id, attempts in tried.items():
        assert len(attempts) >= 10
        assert [attempt for attempt in attempts if not attempt["refused"]] == [], key_id


@pytest.mark.parametrize("name", [ROOT, ISSUING])
def test_secret_of_an_authority_holds_no_key(world: World, name: str) -> None:
    """The Secret of a CA is there for its certificate alone."""
    secret = world.api.get("Secret", CA_NAMESPACE, name)
    assert secret is not None
    assert secret["type"] == "Opaque"
    assert set(secret["data"]) == {"tls.crt", "ca.crt"}
    assert b"PRIVATE KEY" not in b"".join(world.secret(CA_NAMESPACE, name).values())


@pytest.mark.parametrize("key", [{"algorithm": "RSA", "size": 2048}, {"algorithm": "ECDSA"}, {"algorithm": "Ed25519"}])
def test_leaf_keys_are_not_in_the_databases(world: World, namespace: str, key: dict[str, object]) -> None:
    """Neither the key's DER nor its secret numbers occur anywhere in a dump of either database."""
    world.apply(certificate(namespace, "web", privateKey=key))
    body = world.wait_ready(namespace, "web")
    stored = world.recorded(body)[0]["private_key_id"]
    private = serialization.load_pem_private_key(world.secret(namespace, "web-tls")["tls.key"], None)
    for name in DATABASES:
        dump = _dump(world, name)
        assert str(body["status"]["certificateId"]) in dump
        assert (str(stored) in dump) is (name == "secure")
        assert [what for what, octets in _secrets_of(private).items() if octets.hex() in dump] == []


def _secrets_of(key: PrivateKeyTypes) -> dict[str, bytes]:
    der, pkcs8, no = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secrets = {"PKCS#8": key.private_bytes(der, pkcs8, no)}
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            secrets |= {"d": numbers.d.to_bytes(256, "big"), "p": numbers.p.to_bytes(128, "big")}
        case ec.EllipticCurvePrivateKey():
            secrets |= {"d": key.private_numbers().private_value.to_bytes(32, "big")}
        case ed25519.Ed25519PrivateKey():
            secrets |= {"seed": key.private_bytes_raw()}
        case _:
            pytest.fail("an algorithm that CLM does not know")
    return secrets


def _dump(world: World, name: str) -> str:
    """Dump a database; byte strings are written in hexadecimal."""
    database = DevDatabase(world.environment.state, "secure" if name == "secure" else "core")
    program = database.cluster().binaries.program("pg_dump")
    dsn = database.cluster().superuser_dsn(database.database)
    command = [str(program), "--data-only", "--dbname", dsn]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
