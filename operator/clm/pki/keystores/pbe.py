"""Password-based encryption and authentication as PKCS#12 files have it.

Two ages: the key derivation of PKCS#12 itself with SHA-1 and Triple DES or RC2 (RFC 7292 appendices B and C), and PBES2
and PBMAC1 over PBKDF2 (RFC 8018, RFC 9879). Both only write. Passwords are printable ASCII: for anything else the two
ages, OpenSSL and Java disagree about the bytes, and Java refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.padding import PKCS7

from clm.pki import der
from clm.pki.keystores import rc2

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

    from clm.pki.keystores.salts import Salts

Scheme = Literal["PBES2", "PBE-SHA1-3DES", "PBE-SHA1-RC2-40"]
MacScheme = Literal["HMAC-SHA1", "HMAC-SHA256", "PBMAC1"]

_HASHES: dict[MacScheme, tuple[str, str]] = {
    "HMAC-SHA1": ("sha1", "1.3.14.3.2.26"),
    "HMAC-SHA256": ("sha256", "2.16.840.1.101.3.4.2.1"),
}
_FUNCTIONS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_PBE: dict[Scheme, tuple[str, int]] = {
    "PBE-SHA1-3DES": ("1.2.840.113549.1.12.1.3", 24),
    "PBE-SHA1-RC2-40": ("1.2.840.113549.1.12.1.6", 5),
}
_PBKDF2 = "1.2.840.113549.1.5.12"
_PBES2 = "1.2.840.113549.1.5.13"
_PBMAC1 = "1.2.840.113549.1.5.14"
_HMAC_SHA256 = "1.2.840.113549.2.9"
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"
_KEY, _IV, _MAC = 1, 2, 3
"""What a key is derived for (RFC 7292 B.3)."""
_LEGACY_SALT, _SALT, _SHA256 = 8, 16, 32


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An AlgorithmIdentifier in DER, and what it made of the plaintext."""

    algorithm: bytes
    ciphertext: bytes


def encrypt(
    plaintext: bytes, *, scheme: Scheme, password: str, iterations: int, salts: Salts, purpose: str
) -> Encrypted:
    """Encrypt under a password. `purpose` keeps the salts of one file apart."""
    if scheme == "PBES2":
        return _pbes2(plaintext, password=password, iterations=iterations, salts=salts, purpose=purpose)
    identifier, key_size = _PBE[scheme]
    salt = salts.take(f"{purpose} salt", _LEGACY_SALT)
    key = pkcs12_kdf("sha1", password, salt, purpose=_KEY, iterations=iterations, size=key_size)
    iv = pkcs12_kdf("sha1", password, salt, purpose=_IV, iterations=iterations, size=rc2.BLOCK)
    if scheme == "PBE-SHA1-3DES":
        ciphertext = _cbc(TripleDES(key), iv, plaintext)
    else:
        ciphertext = rc2.encrypt_cbc(plaintext, key=key, iv=iv)
    parameters = der.sequence(der.octet_string(salt), der.integer(iterations))
    return Encrypted(der.sequence(der.object_identifier(identifier), parameters), ciphertext)


def mac_data(content: bytes, *, scheme: MacScheme, password: str, iterations: int, salts: Salts) -> bytes:
    """Write the MacData that seals the content (RFC 7292 4, RFC 9879 3)."""
    if scheme == "PBMAC1":
        return _pbmac1(content, password=password, iterations=iterations, salt=salts.take("mac salt", _SALT))
    name, identifier = _HASHES[scheme]
    salt = salts.take("mac salt", _SALT if scheme == "HMAC-SHA256" else _LEGACY_SALT)
    size = _FUNCTIONS[name](usedforsecurity=False).digest_size
    key = pkcs12_kdf(name, password, salt, purpose=_MAC, iterations=iterations, size=size)
    algorithm = der.sequence(der.object_identifier(identifier), der.NULL)
    digest = der.sequence(algorithm, der.octet_string(hmac.digest(key, content, name)))
    return der.sequence(digest, der.octet_string(salt), der.integer(iterations))


def pkcs12_kdf(name: str, password: str, salt: bytes, *, purpose: int, iterations: int, size: int) -> bytes:
    """Derive a key as PKCS#12 does (RFC 7292 B.2): a microsecond an iteration and hash value."""
    hashed = partial(_FUNCTIONS[name], usedforsecurity=False)
    block = hashed().block_size
    diversifier = bytes([purpose]) * block
    state = _filled(salt, block) + _filled(password.encode("utf-16-be") + b"\0\0", block)
    derived = b""
    while True:
        digest = diversifier + state
        for _ in range(iterations):
            digest = hashed(digest).digest()
        derived += digest
        if len(derived) >= size:
            return derived[:size]
        addend = int.from_bytes(_filled(digest, block)[:block], "big") + 1
        state = b"".join(_added(state[at : at + block], addend) for at in range(0, len(state), block))


def _filled(text: bytes, block: int) -> bytes:
    """Repeat a text until it fills whole blocks; nothing stays nothing."""
    size = block * ((len(text) + block - 1) // block)
    return (text * (size // len(text) + 1))[:size] if text else b""


def _added(block: bytes, addend: int) -> bytes:
    size = len(block)
    return ((int.from_bytes(block, "big") + addend) % (1 << (8 * size))).to_bytes(size, "big")


def _pbes2(plaintext: bytes, *, password: str, iterations: int, salts: Salts, purpose: str) -> Encrypted:
    salt, iv = salts.take(f"{purpose} salt", _SALT), salts.take(f"{purpose} iv", _SALT)
    key = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations, _SHA256)
    cipher = der.sequence(der.object_identifier(_AES_256_CBC), der.octet_string(iv))
    parameters = der.sequence(_pbkdf2(salt, iterations), cipher)
    return Encrypted(der.sequence(der.object_identifier(_PBES2), parameters), _cbc(AES256(key), iv, plaintext))


def _pbmac1(content: bytes, *, password: str, iterations: int, salt: bytes) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations, _SHA256)
    scheme = der.sequence(der.object_identifier(_HMAC_SHA256), der.NULL)
    parameters = der.sequence(_pbkdf2(salt, iterations, key_size=_SHA256), scheme)
    algorithm = der.sequence(der.object_identifier(_PBMAC1), parameters)
    digest = der.sequence(algorithm, der.octet_string(hmac.digest(key, content, "sha256")))
    # RFC 9879 4: salt and iterations outside have no meaning; one iteration is the default and not written in DER.
    return der.sequence(digest, der.octet_string(b"NOT USED"))


def _pbkdf2(salt: bytes, iterations: int, *, key_size: int | None = None) -> bytes:
    # RFC 9879 4: a length of the key that is left out must be refused in PBMAC1; in PBES2 the cipher has only one.
    size = b"" if key_size is None else der.integer(key_size)
    function = der.sequence(der.object_identifier(_HMAC_SHA256), der.NULL)
    parameters = der.sequence(der.octet_string(salt), der.integer(iterations), size, function)
    return der.sequence(der.object_identifier(_PBKDF2), parameters)


def _cbc(algorithm: BlockCipherAlgorithm, iv: bytes, plaintext: bytes) -> bytes:
    padder = PKCS7(algorithm.block_size).padder()
    encryptor = Cipher(algorithm, modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
