"""Points in either encoding are told apart by length, and digests are prepared as the RFCs say."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import Unsupported
from clm.hsm.public_key import curve_of, octets_of_point
from clm.hsm.signing import HashName, prepare
from clm.resources.keys import KeySpec

RAW_OCTETS = (32, 65, 97, 133)


@given(st.sampled_from(RAW_OCTETS).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_point_raw_or_der(raw: bytes) -> None:
    """A raw point and its DER OCTET STRING give the same octets."""
    header = bytes([0x04, len(raw)]) if len(raw) < 128 else bytes([0x04, 0x81, len(raw)])
    assert octets_of_point(raw, len(raw)) == raw
    assert octets_of_point(header + raw, len(raw)) == raw


def test_raw_point_that_looks_like_der() -> None:
    """04 3F is the start of a raw P-256 point as well as of an OCTET STRING of 63 octets: length decides."""
    raw = bytes([0x04, 0x3F]) + bytes(63)
    assert octets_of_point(raw, 65) == raw


@pytest.mark.parametrize("value", [b"", bytes(64), bytes(66), bytes([0x03, 65]) + bytes(65), bytes(68)])
def test_other_lengths_are_refused(value: bytes) -> None:
    """Neither raw nor DER: refused."""
    with pytest.raises(ValueError, match="octets"):
        octets_of_point(value, 65)


def test_curves_are_known_by_their_oid() -> None:
    """CKA_EC_PARAMS name the curve; others are refused."""
    assert curve_of(bytes.fromhex("06052b81040022")) == (384, ec.SECP384R1)
    with pytest.raises(ValueError, match="curve"):
        curve_of(bytes.fromhex("06052b8104000a"))


@pytest.mark.parametrize(
    ("name", "algorithm"), [("sha256", hashes.SHA256()), ("sha384", hashes.SHA384()), ("sha512", hashes.SHA512())]
)
def test_digest_info_is_openssl_s(name: HashName, algorithm: hashes.HashAlgorithm) -> None:
    """What goes to CKM_RSA_PKCS is what OpenSSL finds inside an RSA signature of the same data."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signature = private.sign(b"data", padding.PKCS1v15(), algorithm)
    inside = private.public_key().recover_data_from_signature(signature, padding.PKCS1v15(), None)
    assert prepare(KeySpec("RSA", 2048), name, b"data") == inside


def test_ecdsa_digest_is_cut_to_the_order() -> None:
    """FIPS 186-5 6.4.1: the leftmost bits of a digest that is longer than the order."""
    digest = hashlib.sha512(b"data").digest()
    assert prepare(KeySpec("ECDSA", 256), "sha512", b"data") == digest[:32]
    assert prepare(KeySpec("ECDSA", 521), "sha512", b"data") == digest


def test_ed25519_signs_the_message() -> None:
    """No digest for Ed25519, and none but a digest for the others."""
    assert prepare(KeySpec("Ed25519", 256), None, b"data") == b"data"
    with pytest.raises(Unsupported):
        prepare(KeySpec("Ed25519", 256), "sha512", b"data")
    with pytest.raises(Unsupported):
        prepare(KeySpec("ECDSA", 256), None, b"data")
