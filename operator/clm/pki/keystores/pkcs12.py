"""PKCS#12 (RFC 7292): a file with a private key and its chain, or with certificates to trust.

The profiles are those of cert-manager. What differs from its files: more iterations, and salts that can be derived
again. `cryptography` writes such files too, but with salts of its own making, and not LegacyRC2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clm.pki import der
from clm.pki.keystores.pbe import MacScheme, Scheme, encrypt, mac_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.pki.keystores.salts import Salts

ProfileName = Literal["LegacyRC2", "LegacyDES", "Modern2023", "Modern2026"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Algorithms of one file. Iterations are the same for everything in it: the cheapest would be the one attacked."""

    certificates: Scheme
    key: Scheme
    mac: MacScheme
    iterations: int


PROFILES: Mapping[ProfileName, Profile] = {
    "LegacyRC2": Profile("PBE-SHA1-RC2-40", "PBE-SHA1-3DES", "HMAC-SHA1", 2048),
    "LegacyDES": Profile("PBE-SHA1-3DES", "PBE-SHA1-3DES", "HMAC-SHA1", 2048),
    # As many as Java's own keytool has written since 17.
    "Modern2023": Profile("PBES2", "PBES2", "HMAC-SHA256", 10_000),
    "Modern2026": Profile("PBES2", "PBES2", "PBMAC1", 10_000),
}

_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_SHROUDED_KEY_BAG = "1.2.840.113549.1.12.10.1.2"
_CERTIFICATE_BAG = "1.2.840.113549.1.12.10.1.3"
_X509_CERTIFICATE = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID = "1.2.840.113549.1.9.21"
_JAVA_TRUSTED = "2.16.840.1.113894.746875.1.1"
"""Attribute by which Java takes a certificate for a trusted one; its value says for what."""
_ANY_USAGE = "2.5.29.37.0"


def write_keystore(
    *, private_key: bytes, chain: tuple[bytes, ...], password: str, profile: ProfileName, salts: Salts
) -> bytes:
    """Write a private key (PKCS#8 DER) with its chain, leaf first.

    Key and leaf are tied by a local key id and have no name, as cert-manager writes them: Java calls the entry "1".
    """
    algorithms = PROFILES[profile]
    local_id = _attribute(_LOCAL_KEY_ID, der.octet_string(hashlib.sha1(chain[0], usedforsecurity=False).digest()))
    leaf, *others = chain
    bags = _certificate_bag(leaf, local_id) + b"".join(map(_certificate_bag, others))
    shrouded = encrypt(
        private_key,
        scheme=algorithms.key,
        password=password,
        iterations=algorithms.iterations,
        salts=salts,
        purpose="key",
    )
    key = der.sequence(shrouded.algorithm, der.octet_string(shrouded.ciphertext))
    safes = (
        _encrypted(bags, algorithms, password, salts),
        _data(der.sequence(_bag(_SHROUDED_KEY_BAG, key, local_id))),
    )
    return _file(safes, algorithms, password, salts)


def write_truststore(*, certificates: Mapping[str, bytes], password: str, profile: ProfileName, salts: Salts) -> bytes:
    """Write certificates, by alias, as trusted ones."""
    algorithms = PROFILES[profile]
    trusted = _attribute(_JAVA_TRUSTED, der.object_identifier(_ANY_USAGE))
    bags = b"".join(
        _certificate_bag(certificate, _friendly_name(alias), trusted) for alias, certificate in certificates.items()
    )
    return _file((_encrypted(bags, algorithms, password, salts),), algorithms, password, salts)


def _file(safes: tuple[bytes, ...], algorithms: Profile, password: str, salts: Salts) -> bytes:
    content = der.sequence(*safes)
    mac = mac_data(content, scheme=algorithms.mac, password=password, iterations=algorithms.iterations, salts=salts)
    return der.sequence(der.integer(3), _data(content), mac)


def _data(content: bytes) -> bytes:
    return der.sequence(der.object_identifier(_DATA), der.explicit(0, der.octet_string(content)))


def _encrypted(bags: bytes, algorithms: Profile, password: str, salts: Salts) -> bytes:
    made = encrypt(
        der.sequence(bags),
        scheme=algorithms.certificates,
        password=password,
        iterations=algorithms.iterations,
        salts=salts,
        purpose="certificates",
    )
    # EncryptedContentInfo.encryptedContent is [0] IMPLICIT OCTET STRING (RFC 5652 6.1).
    info = der.sequence(der.object_identifier(_DATA), made.algorithm, der.tlv(0x80, made.ciphertext))
    encrypted_data = der.sequence(der.integer(0), info)
    return der.sequence(der.object_identifier(_ENCRYPTED_DATA), der.explicit(0, encrypted_data))


def _certificate_bag(certificate: bytes, *attributes: bytes) -> bytes:
    value = der.sequence(der.object_identifier(_X509_CERTIFICATE), der.explicit(0, der.octet_string(certificate)))
    return _bag(_CERTIFICATE_BAG, value, *attributes)


def _bag(identifier: str, value: bytes, *attributes: bytes) -> bytes:
    # DER sorts the members of a SET OF (X.690 11.6).
    said = der.tlv(der.SET, b"".join(sorted(attributes))) if attributes else b""
    return der.sequence(der.object_identifier(identifier), der.explicit(0, value), said)


def _attribute(identifier: str, value: bytes) -> bytes:
    return der.sequence(der.object_identifier(identifier), der.tlv(der.SET, value))


def _friendly_name(alias: str) -> bytes:
    return _attribute(_FRIENDLY_NAME, der.tlv(der.BMP_STRING, alias.encode("utf-16-be")))
