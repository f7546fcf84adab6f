"""Stored bytes, a signature and the kind of the issuer's key are enough to make the certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import SignatureInvalid
from clm.pki import der
from clm.pki.algorithms import algorithm_identifier, signature_hash
from clm.pki.assemble import assemble, hash_to_sign, verify_signature
from clm.resources.keys import SIZES_IN_HSM, KeySpec, SignatureAlgorithm
from tests.unit.pki.issuing import LEAF, ROOT, Authority, Keys, certificate_spec, sign

if TYPE_CHECKING:
    from clm.pki.tbs import ThrowawayKeys

KINDS = [KeySpec(algorithm, size) for algorithm, sizes in SIZES_IN_HSM.items() for size in sizes]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_what_the_library_would_have_written(keys: Keys, throwaway: ThrowawayKeys, kind: KeySpec) -> None:
    """Taking a certificate of the library apart and putting it together again gives the same bytes."""
    root = Authority.root(keys, throwaway, ROOT, kind)
    draft = root.draft(certificate_spec(LEAF), keys.get("leaf"))
    written = draft.certificate.public_bytes(serialization.Encoding.DER)
    assert assemble(draft.tbs, draft.certificate.signature, spec=kind) == written
    assert algorithm_identifier(kind, signature_hash(kind)) in draft.tbs


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_only_the_issuers_signature_passes(keys: Keys, throwaway: ThrowawayKeys, kind: KeySpec) -> None:
    """A signature of another key, over other bytes, or changed, is refused."""
    root = Authority.root(keys, throwaway, ROOT, kind)
    data, hash_name = b"to be signed", signature_hash(kind)
    good = sign(root.key, kind, data)
    verify_signature(data, good, public_key=root.issuer.public_key, hash_name=hash_name)
    for bytes_, signature in (
        (data, sign(throwaway.get(kind), kind, data)),
        (data + b"!", good),
        (data, good[:-1] + bytes([good[-1] ^ 1])),
        (data, b""),
    ):
        with pytest.raises(SignatureInvalid):
            verify_signature(bytes_, signature, public_key=root.issuer.public_key, hash_name=hash_name)


def test_the_algorithm_must_be_the_one_in_the_bytes(root: Authority) -> None:
    """RFC 5280 4.1.1.2: inner and outer signature algorithm are the same."""
    draft = root.draft(certificate_spec(LEAF), root.keys.get("leaf"))
    with pytest.raises(SignatureInvalid, match="Ed25519"):
        assemble(draft.tbs, draft.certificate.signature, spec=KeySpec("Ed25519", 256))


def test_a_signature_without_a_hash_is_refused(root: Authority) -> None:
    """An ECDSA key verifies nothing where no hash is named."""
    with pytest.raises(SignatureInvalid, match="hash"):
        verify_signature(b"x", b"y", public_key=root.issuer.public_key, hash_name=None)


@pytest.mark.parametrize(
    ("kind", "asked", "name"),
    [
        (KeySpec("RSA", 2048), "SHA256WithRSA", "sha256"),
        (KeySpec("RSA", 2048), "SHA384WithRSA", "sha384"),
        (KeySpec("RSA", 2048), "SHA512WithRSA", "sha512"),
        (KeySpec("ECDSA", 384), "ECDSAWithSHA256", "sha256"),
        (KeySpec("ECDSA", 256), "ECDSAWithSHA384", "sha384"),
        (KeySpec("ECDSA", 256), "ECDSAWithSHA512", "sha512"),
        (KeySpec("Ed25519", 256), "PureEd25519", None),
    ],
)
def test_the_bytes_say_what_hash_to_sign(
    keys: Keys, throwaway: ThrowawayKeys, kind: KeySpec, asked: SignatureAlgorithm, name: str | None
) -> None:
    """What a spec asks for stands in the bytes, is read from them when they are signed, and the library verifies it."""
    root = Authority.root(keys, throwaway, ROOT, kind)
    leaf = root.issue(certificate_spec(LEAF | {"signatureAlgorithm": asked}), keys.get("leaf"))
    certificate = x509.load_der_x509_certificate(leaf)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(root.issuer.chain[0]))
    assert hash_to_sign(certificate.tbs_certificate_bytes, spec=kind) == name
    assert (certificate.signature_hash_algorithm.name if certificate.signature_hash_algorithm else None) == name


@given(st.integers(min_value=0, max_value=70_000))
def test_der_lengths_come_back(length: int) -> None:
    """Short and long forms are read as they are written, at any place."""
    value = der.tlv(der.UTF8_STRING, b"x" * length)
    assert der.content(value) == b"x" * length
    assert der.end(b"ab" + value + b"c", 2) == 2 + len(value)


def test_a_recorded_certificate_parses(root: Authority) -> None:
    """The result is a certificate whose signature the library accepts."""
    leaf = x509.load_der_x509_certificate(root.leaf())
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(root.issuer.chain[0]))
