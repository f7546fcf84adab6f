"""What `openssl ocsp` and plain HTTP clients are told about certificates, by a real process over a real database."""

from __future__ import annotations

import base64
import os
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.e2e.world import wait
from tests.integration.responder.authority import Authority
from tests.integration.responder.process import wait_said

if TYPE_CHECKING:
    import psycopg

    from tests.integration.responder.process import Reply, Responder

VERIFIED = "Response verify OK"


def request_for(
    authority: Authority, certificate: x509.Certificate, *, nonce: bytes | None = None, sha256: bool = False
) -> bytes:
    """Ask about a certificate, as another library writes it."""
    algorithm = hashes.SHA256() if sha256 else hashes.SHA1()
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, authority.certificate, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), False)
    return builder.build().public_bytes(Encoding.DER)


def post(responder: Responder, body: bytes) -> Reply:
    """Ask by POST."""
    return responder.ask("POST", "/ocsp", body=body, Content_Type="application/ocsp-request")


def get(responder: Responder, body: bytes, **headers: str) -> Reply:
    """Ask by GET, with everything escaped that may be (RFC 6960 A.1)."""
    text = base64.b64encode(body).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return responder.ask("GET", f"/ocsp/{text}", None, **headers)


def status_of(reply: Reply) -> ocsp.OCSPResponseStatus:
    """OCSPResponseStatus of a reply, which is always an OCSPResponse in an HTTP success."""
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(reply.body).response_status


@pytest.mark.parametrize("option", [None, "-no_nonce", "-sha256"])
def test_good(responder: Responder, authority: Authority, option: str | None) -> None:
    """Openssl verifies the answer about a certificate that stands, with and without a nonce, by either hash."""
    options = (option,) if option is not None else ()
    said = responder.openssl(authority.certificate, authority.issue(), options=options)
    assert VERIFIED in said
    assert ": good" in said
    # It warns where a nonce was asked for and did not come.
    assert ("no nonce in response" in said) is False


def test_superseded_certificates_are_good(responder: Responder, authority: Authority) -> None:
    """A certificate that was renewed has a follower, and is as good as it was."""
    assert ": good" in responder.openssl(authority.certificate, authority.issue(status="superseded"))


def test_revoked_within_seconds(responder: Responder, authority: Authority) -> None:
    """An answer that is kept does not outlive the revocation: openssl is told, with reason and time."""
    certificate = authority.issue()
    body = request_for(authority, certificate)
    before = ocsp.load_der_ocsp_response(post(responder, body).body)
    assert before.certificate_status is ocsp.OCSPCertStatus.GOOD
    authority.revoke(certificate, reason=4)
    said = wait_said(responder, ": revoked", authority.certificate, certificate)
    assert VERIFIED in said
    assert "Reason: superseded" in said
    assert "Revocation Time:" in said
    after = ocsp.load_der_ocsp_response(post(responder, body).body)
    assert after.certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_revoked_for_no_reason_given(responder: Responder, authority: Authority) -> None:
    """A reason that says nothing is not told (RFC 5280 5.3.1)."""
    certificate = authority.issue()
    authority.revoke(certificate, reason=0)
    said = wait_said(responder, ": revoked", authority.certificate, certificate)
    assert "Reason" not in said


def test_revoked_in_the_inventory_alone(responder: Responder, authority: Authority) -> None:
    """Either record's word that a certificate is revoked is enough."""
    revoked_at = datetime.now(UTC) - timedelta(hours=1)
    certificate = authority.issue(status="revoked", revoked_at=revoked_at, revocation_reason="cessationOfOperation")
    said = responder.openssl(authority.certificate, certificate)
    assert VERIFIED in said
    assert "Reason: cessationOfOperation" in said


def test_revoked_and_in_no_inventory(responder: Responder, authority: Authority) -> None:
    """Nor has the inventory to know it."""
    certificate = authority.unrecorded()
    authority.revoke(certificate)
    assert "Reason: keyCompromise" in responder.openssl(authority.certificate, certificate)


def test_unknown_serials_are_never_good(responder: Responder, authority: Authority) -> None:
    """A certificate with a valid signature that nothing is recorded of: somebody else signed it with the CA's key."""
    certificate = authority.unrecorded()
    assert "unauthorized (6)" in responder.openssl(authority.certificate, certificate)
    reply = post(responder, request_for(authority, certificate))
    assert status_of(reply) is ocsp.OCSPResponseStatus.UNAUTHORIZED
    # Recorded the moment after, it is good: nobody has kept the answer.
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("serial", [1, 2**64, 2**158])
def test_serials_that_nobody_issues(responder: Responder, authority: Authority, serial: int) -> None:
    """Whatever the number, the answer is that it is not known."""
    parsed = ocsp.load_der_ocsp_request(request_for(authority, authority.certificate))
    hashes_of_issuer = parsed.issuer_name_hash, parsed.issuer_key_hash
    made = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*hashes_of_issuer, serial, hashes.SHA1()).build()
    assert status_of(post(responder, made.public_bytes(Encoding.DER))) is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_issuers_that_are_not_ours(responder: Responder, operator: psycopg.Connection) -> None:
    """Not a word is signed about certificates of other CAs, nor of one that wants no OCSP."""
    silent = Authority(operator)
    silent.publish(ocsp=False)
    certificate = silent.issue()
    assert "unauthorized (6)" in responder.openssl(silent.certificate, certificate)


def test_several_certificates_at_once(responder: Responder, authority: Authority) -> None:
    """One signed answer speaks of all that was asked about, in order."""
    certificates = [authority.issue() for _ in range(5)]
    authority.revoke(certificates[3])
    said = wait_said(responder, "3.pem: revoked", authority.certificate, *certificates)
    assert VERIFIED in said
    assert [line.rpartition(": ")[2] for line in said.splitlines() if re.search(r"/\d\.pem: ", line)] == [
        "good", "good", "good", "revoked", "good",
    ]  # fmt: skip


def test_one_unknown_among_several(responder: Responder, authority: Authority) -> None:
    """Where we cannot speak for all, nothing is said."""
    said = responder.openssl(authority.certificate, authority.issue(), authority.unrecorded())
    assert "unauthorized (6)" in said


def test_the_nonce_comes_back(responder: Responder, authority: Authority) -> None:
    """Every length that RFC 9654 allows, in an answer made for it alone."""
    certificate = authority.issue()
    for length in (1, 16, 32, 128):
        nonce = os.urandom(length)
        reply = get(responder, request_for(authority, certificate, nonce=nonce))
        answer = ocsp.load_der_ocsp_response(reply.body)
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert reply.headers["cache-control"] == "no-store"
        assert "etag" not in reply.headers


@pytest.mark.parametrize("length", [0, 129, 1000])
def test_nonces_of_a_wrong_length(responder: Responder, authority: Authority, length: int) -> None:
    """RFC 9654 2.1: refused as malformed."""
    body = request_for(authority, authority.issue(), nonce=os.urandom(length))
    assert status_of(post(responder, body)) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_answers_name_the_delegated_key(responder: Responder, authority: Authority) -> None:
    """By the hash of the key, whose certificate comes along and needs no check of its own (RFC 6960 4.2.2.2.1)."""
    answer = ocsp.load_der_ocsp_response(post(responder, request_for(authority, authority.issue())).body)
    (delegated,) = answer.certificates
    assert answer.responder_name is None
    assert answer.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(delegated.public_key()).digest
    assert delegated.issuer == authority.name
    assert x509.OCSPNoCheck in {type(extension.value) for extension in delegated.extensions}
    assert answer.this_update_utc <= answer.produced_at_utc
    assert answer.next_update_utc is not None
    assert answer.next_update_utc - answer.this_update_utc == timedelta(hours=1)


def test_rsa_authorities(responder: Responder, operator: psycopg.Connection) -> None:
    """The key that signs answers is P-256, whatever the CA's is."""
    authority = Authority(operator, rsa.generate_private_key(65537, 2048))
    authority.publish()
    authority.certify()
    certificate = authority.issue()
    assert VERIFIED in wait_said(responder, ": good", authority.certificate, certificate)


def test_a_renewed_authority(responder: Responder, operator: psycopg.Connection) -> None:
    """With the same key and a new certificate, what was delegated and issued before goes on."""
    authority = Authority(operator)
    authority.publish()
    authority.certify()
    certificate = authority.issue()
    wait_said(responder, ": good", authority.certificate, certificate)
    authority.renew()
    assert VERIFIED in responder.openssl(authority.certificate, certificate)


def test_without_a_delegation_yet(responder: Responder, operator: psycopg.Connection) -> None:
    """Until the CA has certified the key, and while it refuses to, clients are told to come again."""
    authority = Authority(operator)
    authority.publish()
    certificate = authority.issue()
    wait_said(responder, "trylater (3)", authority.certificate, certificate)
    authority.certify(refuse="not today")
    wait_said(responder, "trylater (3)", authority.certificate, certificate)


def test_a_delegation_is_renewed(responder: Responder, operator: psycopg.Connection) -> None:
    """At half of its life a new key takes over; no answer is relied on beyond its key's certificate."""
    authority = Authority(operator)
    authority.publish()
    # It began five minutes ago: half of its life is over.
    authority.certify(lifetime=timedelta(minutes=4))
    certificate = authority.issue()
    wait_said(responder, ": good", authority.certificate, certificate)
    first = ocsp.load_der_ocsp_response(post(responder, request_for(authority, certificate)).body)
    assert first.next_update_utc == first.certificates[0].not_valid_after_utc
    authority.certify()
    other = authority.issue()
    wait_said(responder, ": good", authority.certificate, other)

    def second_key() -> bool | None:
        answer = ocsp.load_der_ocsp_response(post(responder, request_for(authority, other, nonce=os.urandom(16))).body)
        return True if answer.responder_key_hash != first.responder_key_hash else None

    wait(second_key, "the new key to sign")


def test_what_is_kept_by_caches(responder: Responder, authority: Authority) -> None:
    """RFC 5019 6: a GET's answer says how long it may be kept, and is told apart by its ETag."""
    body = request_for(authority, authority.issue())
    reply = get(responder, body)
    answer = ocsp.load_der_ocsp_response(reply.body)
    assert answer.next_update_utc is not None
    directives = dict(part.strip().partition("=")[::2] for part in reply.headers["cache-control"].split(","))
    assert 1700 < int(directives.pop("max-age")) <= 1800
    assert directives.keys() == {"public", "no-transform", "must-revalidate"}
    assert _date(reply.headers["last-modified"]) == answer.this_update_utc
    assert _date(reply.headers["expires"]) == answer.next_update_utc
    assert _date(reply.headers["date"]) <= answer.next_update_utc
    again = get(responder, body, If_None_Match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == reply.headers["etag"]
    assert get(responder, body, If_Modified_Since=reply.headers["last-modified"]).status == 304
    assert get(responder, body, If_None_Match='"another"').status == 200


def test_posts_are_kept_by_nobody(responder: Responder, authority: Authority) -> None:
    """The same answer, and no word that would have a cache give it to somebody else."""
    body = request_for(authority, authority.issue())
    assert post(responder, body).body == get(responder, body).body
    assert post(responder, body).headers["cache-control"] == "no-store"


def test_head(responder: Responder, authority: Authority) -> None:
    """HEAD gives the headers of GET, and no body."""
    text = base64.b64encode(request_for(authority, authority.issue())).decode().replace("/", "%2F")
    reply, head = (responder.ask(method, f"/ocsp/{text}") for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers["content-length"] == str(len(reply.body))
    assert head.headers["etag"] == reply.headers["etag"]


def test_base64_as_it_is(responder: Responder, authority: Authority) -> None:
    """Not every client escapes plus, slash and equals sign."""
    for _ in range(8):
        text = base64.b64encode(request_for(authority, authority.issue(), sha256=True)).decode()
        assert status_of(responder.ask("GET", f"/ocsp/{text}")) is ocsp.OCSPResponseStatus.SUCCESSFUL


@pytest.mark.parametrize(
    "body", [b"", b"0", b"\x30\x00", os.urandom(300), b"\x30\x80" * 200, b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request(responder: Responder, body: bytes) -> None:
    """Is answered as malformed, in an HTTP success: so OCSP's own clients can tell."""
    assert status_of(post(responder, body)) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert status_of(get(responder, body)) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_bodies_that_are_too_large(responder: Responder) -> None:
    """Are not read to their end."""
    assert post(responder, b"0" * 8192).status == 200
    assert post(responder, b"0" * 8193).status == 413
    assert post(responder, b"0" * 5_000_000).status == 413


def test_other_methods(responder: Responder) -> None:
    """What nobody needs is refused, with what is allowed."""
    reply = responder.ask("PUT", "/ocsp", body=b"0")
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, POST"


def test_behind_a_path(responder: Responder, authority: Authority) -> None:
    """Where the public URL has a path, a proxy in between may leave it in the requests."""
    body = request_for(authority, authority.issue())
    reply = responder.ask("POST", "/clm/ocsp", body=body)
    assert status_of(reply) is ocsp.OCSPResponseStatus.SUCCESSFUL


def _date(text: str) -> datetime:
    return parsedate_to_datetime(text)
