"""cert-manager's usage names as KeyUsage and ExtendedKeyUsage (RFC 5280 4.2.1.3 and 4.2.1.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from clm.errors import InvalidInput
from clm.pki.text import object_identifier, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.resources.keys import KeyAlgorithm

SYNONYMS = {"signing": "digital signature", "s/mime": "email protection"}
"""Usages that cert-manager gives two names, by the less common one."""

KEY_USAGES = {
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
"""Bits of KeyUsage, as cryptography names them, by usage."""

_EXTENDED_USAGES = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}
_OBJECT_IDENTIFIERS = {usage: x509.ObjectIdentifier(oid) for usage, oid in _EXTENDED_USAGES.items()}
_NAMES = {oid: usage for usage, oid in _EXTENDED_USAGES.items()}
_NEEDS_KEY_AGREEMENT = ("encipher only", "decipher only")

_SIGNS, _SEALS, _ENCIPHERS, _AGREES = "digital_signature", "content_commitment", "key_encipherment", "key_agreement"
OF_PURPOSE = {
    "1.3.6.1.5.5.7.3.1": (_SIGNS, _ENCIPHERS, _AGREES),
    "1.3.6.1.5.5.7.3.2": (_SIGNS, _AGREES),
    "1.3.6.1.5.5.7.3.3": (_SIGNS,),
    "1.3.6.1.5.5.7.3.4": (_SIGNS, _SEALS, _ENCIPHERS, _AGREES),
    "1.3.6.1.5.5.7.3.8": (_SIGNS, _SEALS),
    "1.3.6.1.5.5.7.3.9": (_SIGNS, _SEALS),
}
"""Bits of KeyUsage of which one at least is needed for an extended usage (RFC 5280 4.2.1.12)."""

# What a key cannot do: RFC 3279 2.3.1 for RSA, RFC 8813 3 for elliptic curves, RFC 9295 3 for Ed25519.
_BEYOND: dict[KeyAlgorithm, frozenset[str]] = {
    "RSA": frozenset({"key agreement", "encipher only", "decipher only"}),
    "ECDSA": frozenset({"key encipherment", "data encipherment"}),
    "Ed25519": frozenset({"key encipherment", "data encipherment", "key agreement", "encipher only", "decipher only"}),
}


def key_usage(usages: tuple[str, ...], *, algorithm: KeyAlgorithm) -> x509.KeyUsage | None:
    """Build the KeyUsage extension; None, as in cert-manager, when only extended usages are asked for.

    Usages that keys of the algorithm do not have are left out: "key encipherment" stands in every default, and an
    elliptic-curve key with it is rejected by strict verifiers. Raises InvalidInput when nothing else is left, and
    for "encipher only" and "decipher only" without "key agreement", which mean nothing.
    """
    asked = {usage for usage in map(canonical, usages) if usage in KEY_USAGES}
    if "key agreement" not in asked and asked.intersection(_NEEDS_KEY_AGREEMENT):
        raise InvalidInput("spec.usages", '"encipher only" and "decipher only" need "key agreement" (RFC 5280 4.2.1.3)')
    possible = asked - beyond(algorithm, signs_certificates="cert sign" in asked)
    if asked and not possible:
        raise InvalidInput("spec.usages", f"{algorithm} keys have none of these usages: {', '.join(sorted(asked))}")
    return x509.KeyUsage(**{bit: usage in possible for usage, bit in KEY_USAGES.items()}) if asked else None


def extended_key_usage(usages: tuple[str, ...]) -> x509.ExtendedKeyUsage | None:
    """Build the ExtendedKeyUsage extension; None when no such usage is asked for.

    What is no name of a usage is an object identifier in dotted form; InvalidInput when it is not.
    """
    asked = dict.fromkeys(usage for usage in map(canonical, usages) if usage not in KEY_USAGES)
    return x509.ExtendedKeyUsage(list(map(_object_identifier, asked))) if asked else None


def beyond(algorithm: KeyAlgorithm, *, signs_certificates: bool) -> frozenset[str]:
    """Usages that a key does not have: what its algorithm cannot do, and what a key that signs certificates is not to.

    RFC 3279 2.3.1: that one enciphers nothing; cert-manager's defaults for a CA have both.
    """
    return _BEYOND[algorithm] | {"key encipherment", "data encipherment"} if signs_certificates else _BEYOND[algorithm]


def canonical(usage: str) -> str:
    """Return the common one of the names of a usage; its object identifier is one of them."""
    return SYNONYMS.get(usage) or _NAMES.get(usage, usage)


def usage_names(extensions: list[x509.ExtensionType]) -> Iterator[str]:
    """Iterate over the usages that a certificate's extensions give it, by their common names.

    Those without a name come last, by their object identifiers.
    """
    for value in extensions:
        if isinstance(value, x509.KeyUsage):
            yield from (name for name, bit in KEY_USAGES.items() if has_bit(value, bit))
        elif isinstance(value, x509.ExtendedKeyUsage):
            present = set(value)
            yield from (name for name, oid in _OBJECT_IDENTIFIERS.items() if oid in present)
            yield from (oid.dotted_string for oid in value if oid.dotted_string not in _NAMES)


def _object_identifier(usage: str) -> x509.ObjectIdentifier:
    known = _OBJECT_IDENTIFIERS.get(usage)
    if known is not None:
        return known
    try:
        return object_identifier(usage)
    except ValueError as error:
        raise InvalidInput("spec.usages", f"{quoted(usage)} {error}") from None


def has_bit(value: x509.KeyUsage, bit: str) -> bool:
    """Read one bit of KeyUsage; cryptography refuses to read two of them where keyAgreement is not set."""
    if bit in ("encipher_only", "decipher_only") and not value.key_agreement:
        return False
    return bool(getattr(value, bit))


def asserts_nothing(value: x509.KeyUsage) -> bool:
    """Tell whether no bit is set, which RFC 5280 4.2.1.3 forbids."""
    return not any(has_bit(value, bit) for bit in KEY_USAGES.values())
