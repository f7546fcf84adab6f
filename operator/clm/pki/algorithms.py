"""What each key algorithm signs with, and how X.509 names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from clm.resources.keys import KeySpec

HashName = Literal["sha256", "sha384", "sha512"]

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_ECDSA: dict[int, HashName] = {256: "sha256", 384: "sha384", 521: "sha512"}

# AlgorithmIdentifier in DER: RFC 4055 5 (RSA, with NULL parameters), RFC 5758 3.2 (ECDSA), RFC 8410 3 (Ed25519).
_IDENTIFIERS: dict[tuple[str, HashName | None], bytes] = {
    ("RSA", "sha256"): bytes.fromhex("300d06092a864886f70d01010b0500"),
    ("RSA", "sha384"): bytes.fromhex("300d06092a864886f70d01010c0500"),
    ("RSA", "sha512"): bytes.fromhex("300d06092a864886f70d01010d0500"),
    ("ECDSA", "sha256"): bytes.fromhex("300a06082a8648ce3d040302"),
    ("ECDSA", "sha384"): bytes.fromhex("300a06082a8648ce3d040303"),
    ("ECDSA", "sha512"): bytes.fromhex("300a06082a8648ce3d040304"),
    ("Ed25519", None): bytes.fromhex("300506032b6570"),
}


def signature_hash(spec: KeySpec) -> HashName | None:
    """Hash that keys of this kind sign with; None for Ed25519, which hashes by itself.

    As strong as the key (FIPS 186-5 6.1.1): SHA-384 for P-384, SHA-512 for P-521, and SHA-256 for P-256 and for RSA of
    every size, because RSA-4096 is short of 152 bits of security (NIST SP 800-57 part 1, 5.6.1).
    """
    if spec.algorithm == "Ed25519":
        return None
    return _ECDSA[spec.size] if spec.algorithm == "ECDSA" else "sha256"


def hash_algorithm(name: HashName) -> hashes.HashAlgorithm:
    """Make cryptography's object for a hash."""
    return _HASHES[name]()


def algorithm_identifier(spec: KeySpec) -> bytes:
    """AlgorithmIdentifier, in DER, of what a key of this kind signs with (RFC 5280 4.1.1.2)."""
    return _IDENTIFIERS[spec.algorithm, signature_hash(spec)]
