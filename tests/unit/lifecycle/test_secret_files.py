"""The forms of key and certificate in a Secret, as OpenSSL reads them."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import pytest

from clm.errors import SecretTooLarge
from clm.lifecycle.secret_files import DATA_LIMIT, check_size, further_files
from clm.pki.chain import Bundle, to_pem
from clm.pki.keys import generate, load_pem_private_key
from clm.pki.keys import to_pem as key_to_pem
from clm.resources.certificate import parse_certificate
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from clm.pki.keys import PrivateKey
    from clm.resources.keys import KeyAlgorithm

KINDS: tuple[KeyAlgorithm, ...] = ("RSA", "ECDSA", "Ed25519")
SIZES: dict[KeyAlgorithm, int] = {"RSA": 2048, "ECDSA": 384, "Ed25519": 256}
ENCODINGS: tuple[Literal["PKCS1", "PKCS8"], ...] = ("PKCS1", "PKCS8")
CHAIN = Bundle(certificates=to_pem(b"leaf") + to_pem(b"intermediate"), root=to_pem(b"root"))


@pytest.fixture(scope="module")
def keys() -> dict[KeyAlgorithm, PrivateKey]:
    """One key of each algorithm."""
    return {kind: generate(KeySpec(kind, SIZES[kind])) for kind in KINDS}


def _files(key: PrivateKey, encoding: str, *formats: str) -> dict[str, bytes]:
    spec = parse_certificate(
        {
            "policyRef": {"name": "p"},
            "secretName": "s",
            "dnsNames": ["a.example"],
            "privateKey": {"encoding": encoding},
            "additionalOutputFormats": [{"type": form} for form in formats],
        }
    )
    return further_files(spec, key=key, bundle=CHAIN, passwords={}, created=datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_der_is_the_key_of_the_pem(
    keys: dict[KeyAlgorithm, PrivateKey], kind: KeyAlgorithm, encoding: Literal["PKCS1", "PKCS8"]
) -> None:
    """`key.der` has the very bytes of `tls.key`, in whichever encoding, and OpenSSL finds the same key in it."""
    der = _files(keys[kind], encoding, "DER")["key.der"]
    pem = key_to_pem(keys[kind], encoding)
    assert base64.b64decode(b"".join(pem.splitlines()[1:-1])) == der
    assert _public(der, "DER") == _public(pem, "PEM")


def test_combined_pem_is_key_then_chain(keys: dict[KeyAlgorithm, PrivateKey]) -> None:
    """As cert-manager writes it, with an empty line between; every reader of PEM finds both in it."""
    files = _files(keys["ECDSA"], "PKCS1", "CombinedPEM")
    assert files == {"tls-combined.pem": key_to_pem(keys["ECDSA"], "PKCS1") + b"\n" + CHAIN.certificates}
    pem = files["tls-combined.pem"]
    assert load_pem_private_key(pem).public_key() == keys["ECDSA"].public_key()
    assert pem.count(b"-----BEGIN CERTIFICATE-----") == 2


def test_nothing_is_added_that_was_not_asked_for(keys: dict[KeyAlgorithm, PrivateKey]) -> None:
    """A plain Certificate has the three files of its kind only."""
    assert _files(keys["ECDSA"], "PKCS8") == {}
    assert set(_files(keys["ECDSA"], "PKCS8", "DER", "CombinedPEM")) == {"key.der", "tls-combined.pem"}


def _public(key: bytes, form: str) -> bytes:
    command = ["openssl", "pkey", "-inform", form, "-pubout"]
    return subprocess.run(command, input=key, capture_output=True, check=True, timeout=20).stdout


def test_a_secret_that_is_too_large_is_told_before_it_is_sent() -> None:
    """With the size of every file; exactly what Kubernetes takes is taken."""
    spec = parse_certificate({"policyRef": {"name": "p"}, "secretName": "web-tls", "dnsNames": ["a.example"]})
    check_size(spec, {"tls.crt": b"x" * (DATA_LIMIT - 1), "tls.key": b"x"})
    with pytest.raises(SecretTooLarge, match=r"Secret web-tls would have 1048577 bytes \(tls.crt 1048576, tls.key 1\)"):
        check_size(spec, {"tls.crt": b"x" * DATA_LIMIT, "tls.key": b"x"})
