"""From signed bytes and a signature to a certificate, or to a CRL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from clm.errors import SignatureInvalid
from clm.pki import der
from clm.pki.algorithms import hash_algorithm, identified_hash

if TYPE_CHECKING:
    from clm.pki.algorithms import HashName
    from clm.pki.keys import PublicKey
    from clm.resources.keys import KeySpec


_CERTIFICATE_FIELDS = ("version", "serialNumber")
"""What stands before the signature algorithm in a TBSCertificate (RFC 5280 4.1)."""
_CRL_FIELDS = ("version",)
"""What stands before it in a TBSCertList (RFC 5280 5.1)."""


def assemble(tbs: bytes, signature: bytes, *, spec: KeySpec) -> bytes:
    """Write a Certificate in DER: SEQUENCE {tbsCertificate, signatureAlgorithm, signature} (RFC 5280 4.1).

    `spec` is the issuer's key. Raises SignatureInvalid when the to-be-signed bytes name an algorithm that it does not
    sign with: the two must agree (RFC 5280 4.1.1.2).
    """
    return _enclosed(tbs, _inner_algorithm(tbs), signature, spec=spec)


def assemble_crl(tbs: bytes, signature: bytes, *, spec: KeySpec) -> bytes:
    """Write a CertificateList in DER, of the same three parts (RFC 5280 5.1). Raises as `assemble` does."""
    return _enclosed(tbs, _inner_algorithm(tbs, after=_CRL_FIELDS), signature, spec=spec)


def _enclosed(tbs: bytes, algorithm: bytes, signature: bytes, *, spec: KeySpec) -> bytes:
    identified_hash(algorithm, spec)
    # A BIT STRING begins with the number of unused bits in its last octet: none.
    return der.tlv(der.SEQUENCE, tbs + algorithm + der.tlv(der.BIT_STRING, b"\x00" + signature))


def hash_to_sign(tbs: bytes, *, spec: KeySpec) -> HashName | None:
    """Hash that to-be-signed bytes were written for; None for Ed25519.

    They may have been stored long ago, for a spec that says something else today. Raises SignatureInvalid when
    `spec`, the issuer's key, does not sign so.
    """
    return identified_hash(_inner_algorithm(tbs), spec)


def verify_signature(tbs: bytes, signature: bytes, *, public_key: PublicKey, hash_name: HashName | None) -> None:
    """Check a signature under the issuer's key. Raises SignatureInvalid."""
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, tbs, padding.PKCS1v15(), hash_algorithm(_needed(hash_name)))
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, tbs, ec.ECDSA(hash_algorithm(_needed(hash_name))))
        else:
            public_key.verify(signature, tbs)
    except InvalidSignature:
        raise SignatureInvalid("the token's signature does not verify under the issuer's public key") from None


def _inner_algorithm(tbs: bytes, *, after: tuple[str, ...] = _CERTIFICATE_FIELDS) -> bytes:
    """Cut AlgorithmIdentifier out of to-be-signed bytes: it follows these fields."""
    at = der.header_size(tbs)
    for _ in after:
        at = der.end(tbs, at)
    return tbs[at : der.end(tbs, at)]


def _needed(hash_name: HashName | None) -> HashName:
    if hash_name is None:
        raise SignatureInvalid("RSA and ECDSA sign a hash, and none was named")
    return hash_name
