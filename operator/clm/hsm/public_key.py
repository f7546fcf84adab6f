"""A public key object of the token as SubjectPublicKeyInfo (RFC 5280 4.1.2.7) and back to CLM's key algorithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType

from clm.errors import HsmError
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

CURVES: dict[int, tuple[type[ec.EllipticCurve], bytes]] = {
    256: (ec.SECP256R1, bytes.fromhex("06082a8648ce3d030107")),
    384: (ec.SECP384R1, bytes.fromhex("06052b81040022")),
    521: (ec.SECP521R1, bytes.fromhex("06052b81040023")),
}
"""Curves by size in bits, with CKA_EC_PARAMS: the namedCurve in DER (RFC 5480 2.1.1)."""

ED25519_PARAMETERS = bytes.fromhex("06032b6570")
"""CKA_EC_PARAMS of Ed25519: its OID in DER (RFC 8410 3), which more modules take than the printable name."""

_ED25519_OCTETS = 32
_SHORT_LENGTH = 0x80


def read_public_key(key: Any) -> tuple[KeySpec, bytes]:  # noqa: ANN401 - python-pkcs11 makes a class for each object
    """Algorithm and SubjectPublicKeyInfo (DER) of a public key object. Raises HsmError for any other kind."""
    try:
        spec, public = _read(key)
    except ValueError as error:
        raise HsmError(f"the token has a public key that CLM cannot use: {error}") from None
    return spec, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(key: Any) -> tuple[KeySpec, CertificateIssuerPublicKeyTypes]:  # noqa: ANN401
    kind = key[Attribute.KEY_TYPE]
    if kind == KeyType.RSA:
        modulus = int.from_bytes(key[Attribute.MODULUS], "big")
        exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT], "big")
        return KeySpec("RSA", modulus.bit_length()), rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if kind == KeyType.EC_EDWARDS:
        point = octets_of_point(key[Attribute.EC_POINT], _ED25519_OCTETS)
        return KeySpec("Ed25519", 256), ed25519.Ed25519PublicKey.from_public_bytes(point)
    if kind == KeyType.EC:
        size, curve = curve_of(key[Attribute.EC_PARAMS])
        point = octets_of_point(key[Attribute.EC_POINT], 1 + 2 * ((size + 7) // 8))
        return KeySpec("ECDSA", size), ec.EllipticCurvePublicKey.from_encoded_point(curve(), point)
    raise ValueError(f"key type {kind}")


def curve_of(parameters: bytes) -> tuple[int, type[ec.EllipticCurve]]:
    """Size in bits and curve of CKA_EC_PARAMS. Raises ValueError for a curve that CLM does not use."""
    for size, (curve, known) in CURVES.items():
        if parameters == known:
            return size, curve
    raise ValueError(f"curve {parameters.hex()}")


def octets_of_point(value: bytes, raw_octets: int) -> bytes:
    """Point in CKA_EC_POINT, which modules give raw or as a DER OCTET STRING. Raises ValueError.

    Told apart by length alone: a raw point may look like DER.
    """
    if len(value) == raw_octets:
        return value
    header = bytes([0x04, raw_octets]) if raw_octets < _SHORT_LENGTH else bytes([0x04, 0x81, raw_octets])
    if len(value) == len(header) + raw_octets and value.startswith(header):
        return value[len(header) :]
    raise ValueError(f"a point of {len(value)} octets where {raw_octets} belong")
