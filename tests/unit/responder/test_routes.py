"""Paths of URLs: the path that a public URL has may have been taken off on the way, or not."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from clm.pki.keys import spki_der
from clm.responder.delegations import Delegations
from clm.responder.documents import Documents
from clm.responder.messages import Request, Response
from clm.responder.ocsp import OcspAnswers
from clm.responder.routes import Routes
from clm.responder.statuses import StatusBook
from clm.storage.core.certificate_status import CertificateStatusStore, PublishedCrl, PublishedIssuer

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY_ID = uuid.UUID("6b7c0f3e-6a86-4f6e-8b39-0d4f1d4c0a11")
_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root")])
CERTIFICATE = (
    x509.CertificateBuilder(_NAME, _NAME, _KEY.public_key(), 1, NOW, NOW + timedelta(days=9))
    .sign(_KEY, hashes.SHA256())
)  # fmt: skip
REQUEST = ocsp.OCSPRequestBuilder().add_certificate(CERTIFICATE, CERTIFICATE, hashes.SHA1()).build()
IN_BASE64 = base64.b64encode(REQUEST.public_bytes(Encoding.DER)).decode()


def routes(base_url: str) -> tuple[Routes, OcspAnswers]:
    """Routes to a CA without OCSP that has published under a URL."""
    documents, now = Documents(), NOW.timestamp()
    issuer = PublishedIssuer(
        key_id=KEY_ID,
        organization_id=KEY_ID,
        name="shop/root",
        subject=_NAME.public_bytes(),
        spki=spki_der(_KEY.public_key()),
        certificate=b"certificate",
        base_urls=(base_url,),
        ocsp_enabled=False,
    )
    documents.put_issuer(issuer, now=now)
    for key in ((KEY_ID, 1, 0), (KEY_ID, 2, 1)):
        documents.put_crl(key, PublishedCrl(b"crl", b"digest", NOW, NOW + timedelta(days=1)))
    documents.are_loaded = True
    answers = OcspAnswers(
        store=cast("CertificateStatusStore", None),  # nothing is looked up of a CA without OCSP
        documents=documents,
        delegations=Delegations(),
        book=StatusBook(limit=1),
        lifetime_s=3600,
        limit=1,
        clock=lambda: now,
    )
    return Routes(documents=documents, ocsp=answers, clock=lambda: now), answers


@pytest.mark.parametrize("is_taken_off", [True, False], ids=["taken off", "left"])
@pytest.mark.parametrize("path", ["", "/clm", "/clm/pki", "/ca", "/crl", "/ocsp", "/ocsp/ca"])
def test_a_public_url_may_have_any_path(path: str, is_taken_off: bool) -> None:  # noqa: FBT001
    """Everything is found, by whichever path a proxy asks; one that is the same as ours included."""
    served, answers = routes(f"http://pki.example{path}")
    before = "" if is_taken_off else path

    def ask(method: str, what: str, body: bytes = b"") -> Response:
        response = served.respond(Request(method=method, path=f"{before}{what}".encode(), body=body))
        assert isinstance(response, Response)
        return response

    assert ask("GET", f"/ca/{KEY_ID}.cer").body == b"certificate"
    assert ask("GET", f"/crl/{KEY_ID}.crl").body == b"crl"
    assert ask("GET", f"/crl/{KEY_ID}/2/1.crl").body == b"crl"
    assert ask("POST", "/ocsp", REQUEST.public_bytes(Encoding.DER)).status == 200
    assert ask("GET", f"/ocsp/{IN_BASE64}").status == 200
    assert answers.counts == {"unauthorized": 2}
    assert {kind for kind, _ in served.counts} == {"ca", "crl", "ocsp"}
