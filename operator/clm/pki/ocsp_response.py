"""OCSP responses (RFC 6960 4.2.1), signed by a delegated P-256 key and written octet by octet.

One answer may speak of several certificates, which the builder of the X.509 library does not do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clm.pki.der import BIT_STRING, SEQUENCE, tlv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clm.pki.ocsp_request import CertId

_OCTET_STRING, _ENUMERATED, _GENERALIZED_TIME = 0x04, 0x0A, 0x18
# Context-specific tags: constructed, and for the NULLs of certStatus primitive.
_EXPLICIT_0, _EXPLICIT_1, _EXPLICIT_2 = 0xA0, 0xA1, 0xA2
_GOOD, _REVOKED = b"\x80\x00", 0xA1

_OID_BASIC = bytes.fromhex("06092b0601050507300101")
_OID_NONCE = bytes.fromhex("06092b0601050507300102")
# AlgorithmIdentifier of ecdsa-with-SHA256, without parameters (RFC 5758 3.2).
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_SIGN_WITH = ec.ECDSA(hashes.SHA256())
_UNSPECIFIED = 0


class OcspError(IntEnum):
    """OCSPResponseStatus of the answers that are no answer (4.2.1). They are not signed."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True)
class Revocation:
    """That a certificate is revoked: since when, and why (CRLReason, RFC 5280 5.3.1)."""

    revoked_at: datetime
    reason: int


@dataclass(frozen=True, slots=True)
class SingleAnswer:
    """The status of one certificate: good, unless it is revoked."""

    cert_id: CertId
    revocation: Revocation | None
    this_update: datetime
    next_update: datetime


class ResponseSigner:
    """Signs answers with a key that a CA has delegated them to (4.2.2.2); `certificate` is that delegation, DER."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
        self._key = key
        point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        # byKey: the SHA-1 of the key's bits, which identifies and protects nothing.
        key_hash = hashlib.sha1(point, usedforsecurity=False).digest()
        self._responder_id = tlv(_EXPLICIT_2, tlv(_OCTET_STRING, key_hash))
        self._certificates = tlv(_EXPLICIT_0, tlv(SEQUENCE, certificate))

    def sign(self, answers: Sequence[SingleAnswer], *, produced_at: datetime, nonce: bytes | None) -> bytes:
        """Write a successful OCSPResponse. It holds the nonce, if there is one."""
        singles = b"".join(map(_single, answers))
        extensions = b""
        if nonce is not None:
            value = tlv(_OCTET_STRING, tlv(_OCTET_STRING, nonce))
            extensions = tlv(_EXPLICIT_1, tlv(SEQUENCE, tlv(SEQUENCE, _OID_NONCE + value)))
        tbs = tlv(SEQUENCE, self._responder_id + _time(produced_at) + tlv(SEQUENCE, singles) + extensions)
        signature = tlv(BIT_STRING, b"\x00" + self._key.sign(tbs, _SIGN_WITH))
        basic = tlv(SEQUENCE, tbs + _ECDSA_SHA256 + signature + self._certificates)
        return _response(0, tlv(_EXPLICIT_0, tlv(SEQUENCE, _OID_BASIC + tlv(_OCTET_STRING, basic))))


def error_response(error: OcspError) -> bytes:
    """Write an OCSPResponse without an answer."""
    return _response(error, b"")


def _response(status: int, rest: bytes) -> bytes:
    return tlv(SEQUENCE, tlv(_ENUMERATED, bytes((status,))) + rest)


def _single(answer: SingleAnswer) -> bytes:
    status = _GOOD if answer.revocation is None else _revoked(answer.revocation)
    next_update = tlv(_EXPLICIT_0, _time(answer.next_update))
    return tlv(SEQUENCE, answer.cert_id.der + status + _time(answer.this_update) + next_update)


def _revoked(revocation: Revocation) -> bytes:
    """RevokedInfo. A reason that says nothing is left out (RFC 5280 5.3.1)."""
    reason = b""
    if revocation.reason != _UNSPECIFIED:
        reason = tlv(_EXPLICIT_0, tlv(_ENUMERATED, bytes((revocation.reason,))))
    return tlv(_REVOKED, _time(revocation.revoked_at) + reason)


def _time(moment: datetime) -> bytes:
    """GeneralizedTime in UTC, without fractions (RFC 5280 4.1.2.5.2)."""
    return tlv(_GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())
