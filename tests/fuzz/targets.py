"""What is fuzzed: each target takes octets, tells whether they are accepted, and raises only where CLM has a defect.

Every one of them reads what somebody else has written: over HTTP without any login (OCSP), in a spec (CSR), or in a row
of a database that another process fills (the responder's CSR).
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from clm.errors import InvalidInput, MalformedRequest
from clm.pki import der
from clm.pki.csr import requested
from clm.pki.keys import spki_der
from clm.pki.known_keys import PublishedKeys
from clm.pki.lint import lint
from clm.pki.literal_subject import parse_literal_subject
from clm.pki.ocsp_request import parse_get, parse_request
from clm.pki.profile import Issuer
from clm.pki.responder_key import requested_key
from clm.pki.tbs import ThrowawayKeys, build_tbs, check_names, validity
from clm.resources.certificate import issuance_hash, parse_certificate
from clm.resources.keys import KeySpec
from clm.responder.messages import Request
from clm.responder.reader import RequestReader
from tests.unit.pki import requests as written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
P256 = KeySpec("ECDSA", 256)
KEY, _CA = written.KEY, written.OTHER
_KEY_ID = uuid.UUID(int=1)
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_PUBLISHED = PublishedKeys()
_THROWAWAY = ThrowawayKeys()
_HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and inputs that it takes: what is fuzzed begins as these."""

    run: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]


def ocsp_request(data: bytes) -> bool:
    """An OCSPRequest: MalformedRequest, or what another parser reads out of it too."""
    try:
        request = parse_request(data)
    except MalformedRequest:
        return False
    assert request.cert_ids
    assert request.nonce is None or 1 <= len(request.nonce) <= 128
    for cert_id in request.cert_ids:
        assert cert_id.der in data, "what the answer repeats is what was asked"
    if len(request.cert_ids) > 1 or request.cert_ids[0].hash_name is None:
        return True
    (cert_id,) = request.cert_ids
    other = ocsp.load_der_ocsp_request(data)
    assert other.serial_number == cert_id.serial_number
    assert (other.issuer_name_hash, other.issuer_key_hash) == (cert_id.issuer_name_hash, cert_id.issuer_key_hash)
    assert isinstance(other.hash_algorithm, _HASHES[str(cert_id.hash_name)])
    return True


def ocsp_get(data: bytes) -> bool:
    """The rest of a GET's path."""
    try:
        return ocsp_request(parse_get(data))
    except MalformedRequest:
        return False


def http(data: bytes) -> bool:
    """Octets of a connection, in pieces whose lengths the first four tell."""
    pieces, rest = data[:4], data[4:]
    reader, turns = RequestReader(), []
    for length in pieces:
        turns += reader.feed(rest[:length])
        rest = rest[length:]
    turns += reader.feed(rest)
    assert all(turn.goes_on for turn in turns[:-1])
    return bool(turns) and isinstance(turns[-1].asked, Request)


def csr(data: bytes) -> bool:
    """A request that a user brings, in PEM around these octets."""
    return csr_text(written.pem(data).encode())


def signed_csr(data: bytes) -> bool:
    """A request whose CertificationRequestInfo is these octets, with a signature that verifies."""
    signature = KEY.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    bits = der.tlv(der.BIT_STRING, b"\0" + signature)
    return csr(der.tlv(der.SEQUENCE, data + _ECDSA_SHA256 + bits))


def csr_text(data: bytes) -> bool:
    """A request that a user brings, as text."""
    return spec({"policyRef": {"name": "p"}, "secretName": "s", "request": data.decode(errors="replace")})


def responder_csr(data: bytes) -> bool:
    """A request of a responder's replica."""
    try:
        requested_key(data)
    except InvalidInput:
        return False
    return True


def literal_subject(data: bytes) -> bool:
    """A subject as one string: InvalidInput, or a name that its own text says again."""
    try:
        name = parse_literal_subject(data.decode(errors="replace"))
    except InvalidInput:
        return False
    assert parse_literal_subject(name.rfc4514_string()).public_bytes() == name.public_bytes()
    return True


def spec(value: Mapping[str, Any]) -> bool:
    """A spec: InvalidInput, or a certificate that can be read, linted and hashed."""
    try:
        parsed = parse_certificate(value)
        issuance_hash(parsed)
        parsed = requested(parsed, _PUBLISHED)
        check_names(parsed)
        issuer = _issuer()
        not_before, not_after = validity(parsed, issuer, NOW)
        draft = build_tbs(
            parsed,
            issuer=issuer,
            public_key=KEY.public_key(),
            serial=1 << 120,
            not_before=not_before,
            not_after=not_after,
            throwaway=_THROWAWAY,
        )
    except InvalidInput:
        return False
    read = x509.load_der_x509_certificate(draft.certificate.public_bytes(Encoding.DER))
    assert read.not_valid_after_utc - read.not_valid_before_utc <= parsed.duration - timedelta(seconds=1)
    lint(draft, issuer=issuer)
    return True


def _issuer() -> Issuer:
    return Issuer.self_signed(key_id=_KEY_ID, spec=P256, spki=spki_der(_CA.public_key()))


def _ocsp_seeds() -> tuple[bytes, ...]:
    made = []
    for algorithm in (hashes.SHA1(), hashes.SHA256()):
        size = algorithm.digest_size
        for nonce in (None, b"n" * 32):
            builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(b"a" * size, b"b" * size, 1 << 120, algorithm)
            if nonce is not None:
                builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
            made.append(builder.build().public_bytes(Encoding.DER))
    return (*made, _signed_ocsp(made[0]))


def _signed_ocsp(plain: bytes) -> bytes:
    """A request with a requestorName and a signature (RFC 6960 4.1.1), as openssl writes it with -signer."""
    requestor = der.tlv(0xA1, der.tlv(0xA4, x509.Name([]).public_bytes()))
    tbs = der.tlv(der.SEQUENCE, requestor + der.content(der.content(plain)))
    signature = der.tlv(der.SEQUENCE, _ECDSA_SHA256 + der.tlv(der.BIT_STRING, b"\0" + b"s" * 70))
    return der.tlv(der.SEQUENCE, tbs + der.tlv(0xA0, signature))


def _csr_seeds() -> tuple[bytes, ...]:
    names = [
        x509.DNSName("*.shop.svc"),
        x509.RFC822Name("a@example.com"),
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a"),
    ]
    texts = [written.csr(), written.csr(names=names), written.csr(subject=[], names=names[:1])]
    return tuple(x509.load_pem_x509_csr(text.encode()).public_bytes(Encoding.DER) for text in texts)


_OCSP_SEEDS, _CSR_SEEDS = _ocsp_seeds(), _csr_seeds()
_INFO_SEEDS = tuple(x509.load_der_x509_csr(seed).tbs_certrequest_bytes for seed in _CSR_SEEDS)

TARGETS: dict[str, Target] = {
    "ocsp": Target(ocsp_request, _OCSP_SEEDS),
    "ocsp-get": Target(ocsp_get, tuple(base64.b64encode(seed).replace(b"/", b"%2F") for seed in _OCSP_SEEDS)),
    "http": Target(
        http,
        tuple(
            b"\x10\x20\x30\x40" + head + b'Host: a\r\nIf-None-Match: "a"\r\n\r\n' + body
            for head, body in (
                (b"GET /ocsp/MDE= HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n\r\n"),
                (b"POST /ocsp HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n", b"body"),
                (b"POST /ocsp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n"),
            )
        ),
    ),
    "csr": Target(csr, _CSR_SEEDS),
    "signed-csr": Target(signed_csr, _INFO_SEEDS),
    "csr-text": Target(csr_text, (written.csr().encode(),)),
    "responder-csr": Target(responder_csr, _CSR_SEEDS),
    "literal-subject": Target(
        literal_subject,
        (b"UID=jsmith,DC=example,DC=net", b'CN=James \\"Jim\\" Smith\\, III+O=A', b"1.2.3=#0C0161,CN=\\C4\\8D"),
    ),
}
"""By name; `certificate`, which is made from the schema and not from octets, is in test_fuzz.py."""

REQUESTS = tuple(written.pem(seed) for seed in _CSR_SEEDS)
"""Requests that a spec may bring."""
