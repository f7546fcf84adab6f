"""What each key algorithm signs with, and how X.509 names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives import hashes

from clm.errors import InvalidInput, SignatureInvalid

if TYPE_CHECKING:
    from clm.resources.keys import KeySpec, SignatureAlgorithm

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
_NAMED: dict[SignatureAlgorithm, tuple[str, HashName | None]] = {
    "SHA256WithRSA": ("RSA", "sha256"),
    "SHA384WithRSA": ("RSA", "sha384"),
    "SHA512WithRSA": ("RSA", "sha512"),
    "ECDSAWithSHA256": ("ECDSA", "sha256"),
    "ECDSAWithSHA384": ("ECDSA", "sha384"),
    "ECDSAWithSHA512": ("ECDSA", "sha512"),
    "PureEd25519": ("Ed25519", None),
}


def signature_hash(spec: KeySpec) -> HashName | None:
    """Hash that keys of this kind sign with; None for Ed25519, which hashes by itself.

    As strong as the key (FIPS 186-5 6.1.1): SHA-384 for P-384, SHA-512 for P-521, and SHA-256 for P-256 and for RSA of
    every size, because RSA-4096 is short of 152 bits of security (NIST SP 800-57 part 1, 5.6.1).
    """
    if spec.algorithm == "Ed25519":
        return None
    return _ECDSA[spec.size] if spec.algorithm == "ECDSA" else "sha256"


def chosen_hash(spec: KeySpec, asked: SignatureAlgorithm | None, *, issuer: str = "the issuer") -> HashName | None:
    """Hash that an issuer's key signs with: what is asked for, or what keys of its kind sign with anyway.

    Raises InvalidInput when keys of this kind make no such signature; `issuer` is whose key it is, for the message.
    """
    if asked is None:
        return signature_hash(spec)
    algorithm, name = _NAMED[asked]
    if algorithm != spec.algorithm:
        possible = ", ".join(each for each, (kind, _) in _NAMED.items() if kind == spec.algorithm)
        raise InvalidInput(
            "spec.signatureAlgorithm",
            f"{asked} is not what {issuer} signs with: its key is {spec}; leave the field out, or set {possible}",
        )
    return name


def signature_name(spec: KeySpec, name: HashName | None) -> SignatureAlgorithm:
    """Name of what a key of this kind signs with this hash."""
    return next(each for each, made in _NAMED.items() if made == (spec.algorithm, name))


def hash_algorithm(name: HashName) -> hashes.HashAlgorithm:
    """Make cryptography's object for a hash."""
    return _HASHES[name]()


def algorithm_identifier(spec: KeySpec, name: HashName | None) -> bytes:
    """AlgorithmIdentifier, in DER, of a key of this kind with this hash (RFC 5280 4.1.1.2)."""
    return _IDENTIFIERS[spec.algorithm, name]


def identified_hash(identifier: bytes, spec: KeySpec) -> HashName | None:
    """Hash that an AlgorithmIdentifier in DER names. Raises SignatureInvalid when keys of this kind do not sign so."""
    for (algorithm, name), known in _IDENTIFIERS.items():
        if known == identifier and algorithm == spec.algorithm:
            return name
    raise SignatureInvalid(f"the to-be-signed bytes do not name a signature algorithm of {spec} keys")
