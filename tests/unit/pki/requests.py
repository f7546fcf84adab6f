"""Requests that somebody brings: good ones, and hostile ones that no library would write."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clm.pki import der
from clm.pki.csr import requested
from clm.pki.keys import spki_der
from clm.pki.known_keys import PublishedKeys
from clm.resources.certificate import CertificateSpec, parse_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clm.pki.keys import PrivateKey
    from clm.pki.weak_keys import KnownKeys

PUBLISHED = PublishedKeys()
EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
_SET, _ATTRIBUTES = 0x31, 0xA0
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")

KEY = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
OTHER = ec.derive_private_key(0xFEDCBA0987654321, ec.SECP256R1())


def csr(
    *,
    key: PrivateKey = KEY,
    subject: Sequence[tuple[x509.ObjectIdentifier, str]] = ((NameOID.COMMON_NAME, "web.shop.svc"),),
    names: Sequence[x509.GeneralName] = (x509.DNSName("web.shop.svc"),),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    attributes: Sequence[tuple[str, bytes]] = (),
    digest: hashes.HashAlgorithm | None = None,
    pss: bool = False,
) -> str:
    """Have the library write a request in PEM."""
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder(name)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    for oid, octets in attributes:
        builder = builder.add_attribute(x509.ObjectIdentifier(oid), octets)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
    repeatable = True if isinstance(key, ec.EllipticCurvePrivateKey) else None
    signed = builder.sign(key, algorithm, rsa_padding=scheme, ecdsa_deterministic=repeatable)  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.PEM).decode()


def raw_csr(
    *,
    subject: bytes = der.tlv(der.SEQUENCE, b""),
    spki: bytes = spki_der(KEY.public_key()),
    attributes: bytes = b"",
    key: ec.EllipticCurvePrivateKey = KEY,
    version: bytes = b"\x02\x01\x00",
) -> str:
    """Write a request octet by octet, with a signature that verifies: for what the library refuses to write."""
    return signed(der.tlv(der.SEQUENCE, version + subject + spki + der.tlv(_ATTRIBUTES, attributes)), key)


def signed(info: bytes, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    """Sign any octets as a CertificationRequestInfo."""
    signature = key.sign(info, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return pem(der.tlv(der.SEQUENCE, info + _ECDSA_SHA256 + der.tlv(der.BIT_STRING, b"\0" + signature)))


def extension_request(*extensions: bytes) -> bytes:
    """Attribute extensionRequest (RFC 2985 5.4.2)."""
    listed = der.tlv(der.SEQUENCE, b"".join(extensions))
    return der.tlv(der.SEQUENCE, EXTENSION_REQUEST + der.tlv(_SET, listed))


def alternative_names(*names: bytes) -> bytes:
    """Extension subjectAltName of GeneralNames that are encoded already."""
    value = der.tlv(der.SEQUENCE, b"".join(names))
    return der.tlv(der.SEQUENCE, bytes.fromhex("0603551d11") + der.tlv(0x04, value))


def name(*attributes: tuple[str, int, bytes]) -> bytes:
    """Name of attributes (object identifier, tag, octets), each an RDN of its own."""
    return der.tlv(der.SEQUENCE, b"".join(der.tlv(_SET, attribute(*each)) for each in attributes))


def attribute(oid: str, tag: int, octets: bytes) -> bytes:
    """AttributeTypeAndValue."""
    return der.tlv(der.SEQUENCE, object_identifier(oid) + der.tlv(tag, octets))


def object_identifier(oid: str) -> bytes:
    """OBJECT IDENTIFIER in DER (X.690 8.19)."""
    first, second, *rest = map(int, oid.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(septets))
    return der.tlv(0x06, bytes(octets))


def pem(octets: bytes, label: str = "CERTIFICATE REQUEST") -> str:
    """Write octets as a PEM block."""
    text = base64.encodebytes(octets).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


def der_of(text: str) -> bytes:
    """Octets of a PEM block."""
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def spec_of(request: str, known: KnownKeys = PUBLISHED, **spec: Any) -> CertificateSpec:
    """Read a spec that brings a request."""
    return requested(
        parse_certificate({"policyRef": {"name": "p"}, "secretName": "s", "request": request, **spec}), known
    )


def rsa_key_of(p: int, q: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Make an RSA key of given primes, and of an exponent that may be wrong."""
    d = pow(exponent, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(exponent, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
