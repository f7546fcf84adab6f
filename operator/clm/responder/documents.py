"""What is served as it is: CRLs and CA certificates, by the path of their URLs; and which issuers OCSP answers for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clm.pki.der import content, end
from clm.responder.messages import Document

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from clm.pki.ocsp_request import CertId
    from clm.storage.core.certificate_status import CrlKey, PublishedCrl, PublishedIssuer

CRL_TYPE, CERTIFICATE_TYPE = "application/pkix-crl", "application/pkix-cert"
"""RFC 5280 4.2.1.13 and 4.2.2.1; registered by RFC 2585."""

CRL_MAX_AGE_S = 300.0
"""How long caches may keep a CRL: revocations are in the next one within seconds, and nextUpdate is hours away."""
CERTIFICATE_MAX_AGE_S = 3600.0
"""How long caches may keep a CA's certificate: a renewed one has the same key, and the old one verifies as well."""


@dataclass(frozen=True, slots=True)
class Served:
    """A document and how long caches may keep it."""

    document: Document
    max_age_s: float


class Documents:
    """The newest of everything that was read."""

    def __init__(self) -> None:
        self._files: dict[bytes, Served] = {}
        self._crls: dict[CrlKey, PublishedCrl] = {}
        self._issuers: dict[uuid.UUID, PublishedIssuer] = {}
        self._by_hashes: dict[tuple[str | None, bytes, bytes], PublishedIssuer] = {}
        self._prefixes: tuple[bytes, ...] = ()
        self.are_loaded = False
        """Whether they have been read once: before that, nothing is known not to be there."""

    @property
    def issuers(self) -> dict[uuid.UUID, PublishedIssuer]:
        """The issuers, by key."""
        return self._issuers

    @property
    def crls(self) -> dict[CrlKey, PublishedCrl]:
        """The CRLs, by issuer and partition."""
        return self._crls

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """Paths of all public URLs that certificates were issued with, the longest first; a bare host has none."""
        return self._prefixes

    def file(self, path: bytes) -> Served | None:
        """Find what is served under a path."""
        return self._files.get(path)

    def issuer_of(self, cert_id: CertId) -> PublishedIssuer | None:
        """Find the issuer that a CertID names (RFC 6960 4.1.1); None when it is none that OCSP answers for."""
        return self._by_hashes.get((cert_id.hash_name, cert_id.issuer_name_hash, cert_id.issuer_key_hash))

    def put_issuer(self, issuer: PublishedIssuer, *, now: float) -> None:
        """Serve an issuer, newly or as it is now. `now` counts seconds since the epoch.

        Raises ValueError for one whose key cannot be read; nothing is changed then.
        """
        hashes = list(_hashes(issuer))
        self._drop_hashes(issuer.key_id)
        self._issuers[issuer.key_id] = issuer
        self._note_prefixes()
        document = Document.make(
            CERTIFICATE_TYPE, issuer.certificate, changed_at=now, expires_at=now + CERTIFICATE_MAX_AGE_S
        )
        self._files[certificate_path(issuer.key_id)] = Served(document, CERTIFICATE_MAX_AGE_S)
        if issuer.ocsp_enabled:
            self._by_hashes |= dict.fromkeys(hashes, issuer)

    def put_crl(self, key: CrlKey, crl: PublishedCrl) -> None:
        """Serve a CRL, instead of the one before it."""
        self._crls[key] = crl
        document = Document.make(
            CRL_TYPE,
            crl.der,
            changed_at=crl.this_update.timestamp(),
            expires_at=crl.next_update.timestamp(),
            sha256=crl.sha256,
        )
        for path in crl_paths(key):
            self._files[path] = Served(document, CRL_MAX_AGE_S)

    def keep_only(self, issuers: Iterable[uuid.UUID], crls: Iterable[CrlKey]) -> None:
        """Serve no longer what is gone."""
        for key in self._crls.keys() - set(crls):
            del self._crls[key]
            for path in crl_paths(key):
                self._files.pop(path, None)
        for key_id in self._issuers.keys() - set(issuers):
            del self._issuers[key_id]
            self._files.pop(certificate_path(key_id), None)
            self._drop_hashes(key_id)
            self._note_prefixes()

    def _note_prefixes(self) -> None:
        urls = {url for issuer in self._issuers.values() for url in issuer.base_urls}
        paths = {urlsplit(url).path.rstrip("/").encode() for url in urls} - {b""}
        self._prefixes = tuple(sorted(paths, key=len, reverse=True))

    def _drop_hashes(self, key_id: uuid.UUID) -> None:
        self._by_hashes = {key: issuer for key, issuer in self._by_hashes.items() if issuer.key_id != key_id}


def certificate_path(issuer_key_id: uuid.UUID) -> bytes:
    """Path of a CA's certificate: caIssuers in certificates (RFC 5280 4.2.2.1)."""
    return f"/ca/{issuer_key_id}.cer".encode("ascii")


def crl_paths(key: CrlKey) -> list[bytes]:
    """Paths of a CRL; the complete one has a path without numbers."""
    key_id, shards, shard = key
    if shards == 1:
        return [f"/crl/{key_id}.crl".encode("ascii")]
    return [f"/crl/{key_id}/{shards}/{shard}.crl".encode("ascii")]


def _hashes(issuer: PublishedIssuer) -> Iterable[tuple[str, bytes, bytes]]:
    """What a CertID may name an issuer by: hashes of its Name, and of its key's bits without what is around them."""
    try:
        fields = content(issuer.spki)
        bits = content(fields[end(fields) :])[1:]
    except IndexError:
        raise ValueError("not a SubjectPublicKeyInfo (RFC 5280 4.1)") from None
    for name in ("sha1", "sha256"):
        yield (
            name,
            hashlib.new(name, issuer.subject, usedforsecurity=False).digest(),
            hashlib.new(name, bits, usedforsecurity=False).digest(),
        )
