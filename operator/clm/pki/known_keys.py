"""Keys whose private half has been published: examples of standards, which people copy.

By the SHA-256 of their SubjectPublicKeyInfo. The hundreds of thousands of others, of which most are those of
CVE-2008-0166 (Debian's OpenSSL), come as files.
"""

from __future__ import annotations

PUBLISHED: dict[str, str] = {}
"""Where a key was published, by its SPKI's SHA-256 in hexadecimal."""


class PublishedKeys:
    """The keys of this module, as a list of known keys."""

    def find(self, *, spki_sha256: bytes, number_sha256: bytes) -> str | None:  # noqa: ARG002 - known by the SPKI alone
        """Say where the private half of a key was published; None where it was not, as far as is known here."""
        return PUBLISHED.get(spki_sha256.hex())
