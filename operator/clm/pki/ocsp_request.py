"""OCSP requests (RFC 6960 4.1.1): read from whatever bytes anybody sends.

The bytes are read by the strict DER reader of a maintained library, against the types below. Signatures on requests are
not verified (RFC 6960 4.1.2 leaves it to the responder): the status of a certificate is no secret.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import OCSPExtensionOID

from clm.errors import MalformedRequest

MAX_NONCE = 128
"""Octets of a nonce at most (RFC 9654 2.1)."""

_SHA1, _SHA256 = x509.ObjectIdentifier("1.3.14.3.2.26"), x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_HASHES = {_SHA1: "sha1", _SHA256: "sha256"}
# 4.1.1: the one version that there is.
_V1 = 0


@asn1.sequence
class _Algorithm:
    oid: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _CertID:
    hash_algorithm: _Algorithm
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


# An explicit tag is one around another: any one value, that nobody looks at.
@asn1.sequence
class _Whatever:
    value: asn1.TLV


@asn1.sequence
class _SingleRequest:
    cert_id: _CertID
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class _TBSRequest:
    version: Annotated[int, asn1.Explicit(0), asn1.Default(_V1)]
    requestor_name: Annotated[_Whatever | None, asn1.Implicit(1)]
    request_list: list[_SingleRequest]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class _OCSPRequest:
    tbs_request: _TBSRequest
    signature: Annotated[_Whatever | None, asn1.Implicit(0)]


@dataclass(frozen=True, slots=True)
class CertId:
    """Names one certificate by hashes of its issuer's name and key.

    `hash_name` is None for an algorithm that no responder of CLM is asked by. `der` is what the answer repeats.
    """

    hash_name: str | None
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int
    der: bytes


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """About which certificates is asked, at least one; and the nonce that the answer has to hold, if any."""

    cert_ids: tuple[CertId, ...]
    nonce: bytes | None


def parse_request(der: bytes) -> OcspRequest:
    """Read an OCSPRequest. Raises MalformedRequest, and nothing else, for whatever is none.

    Extensions other than the nonce are passed over (4.4), unless they are critical.
    """
    try:
        tbs = asn1.decode_der(_OCSPRequest, der).tbs_request
    except ValueError as error:
        raise MalformedRequest("not an OCSPRequest (RFC 6960 4.1.1)") from error
    if tbs.version != _V1:
        raise MalformedRequest("the version is not v1")
    if not tbs.request_list:
        raise MalformedRequest("no certificate is asked about")
    return OcspRequest(
        cert_ids=tuple(_cert_id(single) for single in tbs.request_list), nonce=_nonce(tbs.extensions or [])
    )


def parse_get(text: bytes) -> bytes:
    """Read the DER of a request from the rest of a GET's path, as it came: base64, of which some or all is escaped.

    Appendix A.1 of RFC 6960 and section 5 of RFC 5019. Raises MalformedRequest.
    """
    encoded = unquote_to_bytes(text)
    try:
        return b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest("not base64 of a request (RFC 5019 5)") from error


def _cert_id(single: _SingleRequest) -> CertId:
    if any(extension.critical for extension in single.extensions or []):
        raise MalformedRequest("a critical extension that is not known (RFC 6960 4.4)")
    found = single.cert_id
    return CertId(
        hash_name=_HASHES.get(found.hash_algorithm.oid),
        issuer_name_hash=found.issuer_name_hash,
        issuer_key_hash=found.issuer_key_hash,
        serial_number=found.serial_number,
        der=asn1.encode_der(found),
    )


def _nonce(extensions: list[_Extension]) -> bytes | None:
    """RFC 9654 2.1: from 1 to 128 octets; others are to be refused as malformed."""
    nonce: bytes | None = None
    for extension in extensions:
        if extension.oid != OCSPExtensionOID.NONCE:
            if extension.critical:
                raise MalformedRequest("a critical extension that is not known (RFC 6960 4.4)")
            continue
        if nonce is not None:
            raise MalformedRequest("two nonces")
        try:
            nonce = asn1.decode_der(bytes, extension.value)
        except ValueError as error:
            raise MalformedRequest("the nonce is no OCTET STRING (RFC 9654 2.1)") from error
        if not 1 <= len(nonce) <= MAX_NONCE:
            raise MalformedRequest(f"a nonce of {len(nonce)} octets (RFC 9654 2.1)")
    return nonce
