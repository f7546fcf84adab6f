"""A certificate signing request (PKCS#10, RFC 2986) that the user brings: the key never comes to CLM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.resources.reading import means_nothing

if TYPE_CHECKING:
    from clm.resources.reading import Reader

_NAMES = ("commonName", "subject", "literalSubject", "dnsNames", "ipAddresses", "uris", "emailAddresses", "otherNames")
_NEED_THE_KEY = ("keystores", "additionalOutputFormats")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """A request that was read and found good: what goes into the certificate and the record as it is.

    `der` is all of it, `info` its CertificationRequestInfo (what is signed), `spki` the key's SubjectPublicKeyInfo.
    """

    der: bytes = field(repr=False)
    info: bytes = field(repr=False)
    spki: bytes = field(repr=False)

    @property
    def content_sha256(self) -> str:
        """SHA-256, in hexadecimal, of what the request says: signed anew, it still says the same."""
        return hashlib.sha256(self.info).hexdigest()


def read_request(reader: Reader) -> str | None:
    """Read `spec.request`, and note every field that cannot stand beside it."""
    request = reader.text("request")
    if request is None:
        return None
    for name in _NAMES:
        _exclude(reader, name, "the names are those of the request")
    _exclude(reader, "privateKey", "the key is that of the request")
    for name in _NEED_THE_KEY:
        _exclude(reader, name, "the private key stays with whoever made the request")
    _exclude(reader, "authority", "it is for CAs whose key is in the HSM")
    return request


def _exclude(reader: Reader, name: str, why: str) -> None:
    if not means_nothing(reader.peek(name)):
        reader.problem(name, f"must not stand beside request: {why}")
