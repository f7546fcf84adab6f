"""JKS, the keystore of Java before 9, which every Java still reads.

The format is Sun's own and no published standard: sun.security.provider.JavaKeyStore and KeyProtector of OpenJDK are
its definition. The key is hidden by a stream of SHA-1 digests of password and salt, the whole is sealed by one SHA-1 of
the password and the content: a guess of the password costs an attacker next to nothing. It protects against nobody who
can try many, and is here for programs that read nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.pki import der

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.pki.keystores.salts import Salts

_MAGIC = 0xFEEDFEED
_VERSION = 2
_PRIVATE_KEY, _TRUSTED_CERTIFICATE = 1, 2
_CERTIFICATE_TYPE = "X.509"
_SALT_SIZE = 20
_WHITENER = b"Mighty Aphrodite"
_KEY_PROTECTOR = "1.3.6.1.4.1.42.2.17.1.1"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A private key in PKCS#8 DER and its chain, leaf first."""

    private_key: bytes
    chain: tuple[bytes, ...]

    def __repr__(self) -> str:
        """Name it without the key."""
        return f"KeyEntry(<key>, {len(self.chain)} certificates)"


def write(
    *,
    password: str,
    created: datetime,
    trusted: Mapping[str, bytes],
    keys: Mapping[str, KeyEntry],
    salts: Salts,
) -> bytes:
    """Write a keystore. Aliases are written in lower case, since Java looks them up so.

    `password` is printable ASCII; `created` is what every entry says of its making.
    """
    milliseconds = int(created.timestamp() * 1000)
    entries = [
        _number(_PRIVATE_KEY)
        + _head(alias, milliseconds)
        + _key(entry, password, salts.take(f"key {alias}", _SALT_SIZE))
        for alias, entry in keys.items()
    ]
    entries += [
        _number(_TRUSTED_CERTIFICATE) + _head(alias, milliseconds) + _certificate(certificate)
        for alias, certificate in trusted.items()
    ]
    content = _number(_MAGIC) + _number(_VERSION) + _number(len(entries)) + b"".join(entries)
    return content + hashlib.sha1(_bytes(password) + _WHITENER + content, usedforsecurity=False).digest()


def _head(alias: str, milliseconds: int) -> bytes:
    return _text(alias.lower()) + milliseconds.to_bytes(8, "big")


def _key(entry: KeyEntry, password: str, salt: bytes) -> bytes:
    protected = der.sequence(
        der.sequence(der.object_identifier(_KEY_PROTECTOR), der.NULL),
        der.octet_string(_protected(entry.private_key, _bytes(password), salt)),
    )
    chain = b"".join(map(_certificate, entry.chain))
    return _sized(protected) + _number(len(entry.chain)) + chain


def _protected(private_key: bytes, password: bytes, salt: bytes) -> bytes:
    """Hide a key as KeyProtector does: salt, key under the stream of digests, digest of password and key."""
    stream, digest = b"", salt
    while len(stream) < len(private_key):
        digest = hashlib.sha1(password + digest, usedforsecurity=False).digest()
        stream += digest
    hidden = bytes(a ^ b for a, b in zip(private_key, stream, strict=False))
    return salt + hidden + hashlib.sha1(password + private_key, usedforsecurity=False).digest()


def _certificate(certificate: bytes) -> bytes:
    return _text(_CERTIFICATE_TYPE) + _sized(certificate)


def _text(text: str) -> bytes:
    # java.io.DataOutput.writeUTF; its differences from UTF-8 are outside ASCII, which aliases are held to.
    encoded = text.encode("ascii")
    return len(encoded).to_bytes(2, "big") + encoded


def _sized(content: bytes) -> bytes:
    return _number(len(content)) + content


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _bytes(password: str) -> bytes:
    return password.encode("utf-16-be")
