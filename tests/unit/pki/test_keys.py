"""Keys are written as what their readers expect, and only kinds that CLM uses are read."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from clm.pki import keys as pki_keys
from clm.resources.keys import SIZES, SIZES_IN_HSM, KeySpec

if TYPE_CHECKING:
    from tests.unit.pki.issuing import Keys

KINDS = [KeySpec(algorithm, size) for algorithm, sizes in SIZES_IN_HSM.items() for size in sizes]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_keys_come_back(keys: Keys, kind: KeySpec) -> None:
    """Through PKCS#8, PEM in both encodings, and SubjectPublicKeyInfo."""
    key = keys.get("leaf", kind)
    public = key.public_key()
    assert pki_keys.key_spec_of(public) == kind
    assert pki_keys.load_spki(pki_keys.spki_der(public)) == public
    assert pki_keys.from_pkcs8_der(pki_keys.to_pkcs8_der(key)).public_key() == public
    for encoding in ("PKCS1", "PKCS8"):
        assert pki_keys.load_pem_private_key(pki_keys.to_pem(key, encoding)).public_key() == public


@pytest.mark.parametrize(
    ("algorithm", "encoding", "label"),
    [
        ("RSA", "PKCS1", "RSA PRIVATE KEY"),
        ("ECDSA", "PKCS1", "EC PRIVATE KEY"),
        ("Ed25519", "PKCS1", "PRIVATE KEY"),
        ("RSA", "PKCS8", "PRIVATE KEY"),
        ("ECDSA", "PKCS8", "PRIVATE KEY"),
    ],
)
def test_pem_has_the_form_that_is_asked_for(
    keys: Keys, algorithm: Literal["RSA", "ECDSA", "Ed25519"], encoding: Literal["PKCS1", "PKCS8"], label: str
) -> None:
    """OpenSSL reads it, and its label is the one of cert-manager."""
    pem = pki_keys.to_pem(keys.get("leaf", KeySpec(algorithm, SIZES[algorithm][0])), encoding)
    assert pem.startswith(f"-----BEGIN {label}-----\n".encode())
    subprocess.run(["openssl", "pkey", "-noout", "-check"], input=pem, capture_output=True, check=True)


def test_other_keys_are_refused() -> None:
    """Weak sizes, other curves and other algorithms are no keys of CLM's."""
    with pytest.raises(ValueError, match="not a key that CLM uses"):
        pki_keys.supported(x25519.X25519PrivateKey.generate().public_key())
    with pytest.raises(ValueError, match="secp256k1"):
        pki_keys.key_spec_of(ec.generate_private_key(ec.SECP256K1()).public_key())
    with pytest.raises(ValueError, match="not 1024"):
        pki_keys.key_spec_of(rsa.generate_private_key(65537, 1024).public_key())
    der = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="not a private key that CLM makes"):
        pki_keys.from_pkcs8_der(der)


def test_numbers_of_an_own_key_are_not_checked_again(keys: Keys) -> None:
    """Reading a stored RSA key does not stop the event loop for OpenSSL's whole check; reading a foreign one does."""
    key = keys.get("leaf", KeySpec("RSA", 2048))
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    assert pki_keys.from_pkcs8_der(pki_keys.to_pkcs8_der(wrong)).public_key() == wrong.public_key()
    with pytest.raises(ValueError, match="Invalid private key"):
        pki_keys.load_pem_private_key(pki_keys.to_pem(wrong, "PKCS8"))


def test_an_encrypted_key_is_refused(keys: Keys) -> None:
    """Somebody else's `tls.key` must not raise anything but ValueError."""
    pem = keys.get("leaf").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(ValueError, match="encrypted"):
        pki_keys.load_pem_private_key(pem)
