"""Key pairs in memory: generated, written and read."""

from __future__ import annotations

from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from clm.resources.keys import KeySpec

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

KeyEncoding = Literal["PKCS1", "PKCS8"]

_CURVES: dict[int, type[ec.EllipticCurve]] = {256: ec.SECP256R1, 384: ec.SECP384R1, 521: ec.SECP521R1}
_RSA_EXPONENT = 65537


def generate(spec: KeySpec) -> PrivateKey:
    """Generate a key pair. RSA takes up to seconds, without the GIL: call it in a thread."""
    match spec.algorithm:
        case "RSA":
            return rsa.generate_private_key(_RSA_EXPONENT, spec.size)
        case "ECDSA":
            return ec.generate_private_key(_CURVES[spec.size]())
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def supported(key: object) -> PublicKey:
    """Narrow a public key of any kind. Raises ValueError for one that CLM does not use."""
    if isinstance(key, PublicKey):
        return key
    raise ValueError("not a key that CLM uses: RSA, P-256, P-384, P-521 or Ed25519")


def key_spec_of(key: PublicKey) -> KeySpec:
    """Algorithm and size of a public key. Raises ValueError for a size or curve that CLM does not use."""
    if isinstance(key, rsa.RSAPublicKey):
        return KeySpec("RSA", key.key_size)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return KeySpec("Ed25519", 256)
    if not isinstance(key.curve, tuple(_CURVES.values())):
        raise ValueError(f"not a curve that CLM uses: {key.curve.name}")  # noqa: TRY004 - curves are values here
    return KeySpec("ECDSA", key.key_size)


def to_pkcs8_der(key: PrivateKey) -> bytes:
    """Write a private key as unencrypted PKCS#8 (RFC 5958): what is wrapped before it is stored."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_pkcs8_der(der: bytes) -> PrivateKey:
    """Read what `to_pkcs8_der` wrote, from where nobody can have changed it. Raises ValueError on another kind of key.

    The numbers of an RSA key are not checked again: OpenSSL takes 40 ms over 2048 bits and 280 ms over 4096, on the
    event loop. CLM generated the key itself, and AES-GCM with associated data has just proven it unchanged.
    """
    return _private(serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True))


def to_pem(key: PrivateKey, encoding: KeyEncoding) -> bytes:
    """Write a private key for `tls.key`. PKCS1 is the traditional form; Ed25519 has none and stays PKCS#8."""
    return key.private_bytes(serialization.Encoding.PEM, _form(key, encoding), serialization.NoEncryption())


def to_der(key: PrivateKey, encoding: KeyEncoding) -> bytes:
    """Write a private key for `key.der`: the bytes that `to_pem` has in base64."""
    return key.private_bytes(serialization.Encoding.DER, _form(key, encoding), serialization.NoEncryption())


def load_pem_private_key(pem: bytes) -> PrivateKey:
    """Read `tls.key`. Raises ValueError, also when it is encrypted."""
    try:
        return _private(serialization.load_pem_private_key(pem, None))
    except TypeError:
        raise ValueError("the private key is encrypted") from None


def load_pem_certificates(pem: bytes) -> list[bytes]:
    """Read the certificates of a PEM bundle as DER. Raises ValueError."""
    certificates = x509.load_pem_x509_certificates(pem)
    return [certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates]


def spki_der(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo in DER (RFC 5280 4.1.2.7)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_spki(der: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo. Raises ValueError."""
    return supported(serialization.load_der_public_key(der))


def _form(key: PrivateKey, encoding: KeyEncoding) -> serialization.PrivateFormat:
    if encoding == "PKCS1" and not isinstance(key, ed25519.Ed25519PrivateKey):
        return serialization.PrivateFormat.TraditionalOpenSSL
    return serialization.PrivateFormat.PKCS8


def _private(key: object) -> PrivateKey:
    if isinstance(key, PrivateKey):
        return key
    raise ValueError("not a private key that CLM makes")
