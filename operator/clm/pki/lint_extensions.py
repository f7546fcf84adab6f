"""Checks of the extensions that say what a certificate is for and who signed it (RFC 5280 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from clm.pki.keys import key_spec_of, supported
from clm.pki.usages import KEY_USAGES, OF_PURPOSE, asserts_nothing, beyond, has_bit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.pki.lint_view import View

_NEVER_CRITICAL = (
    (x509.AuthorityKeyIdentifier, "authorityKeyIdentifier", "4.2.1.1"),
    (x509.SubjectKeyIdentifier, "subjectKeyIdentifier", "4.2.1.2"),
    (x509.AuthorityInformationAccess, "authorityInfoAccess", "4.2.2.1"),
    (x509.CRLDistributionPoints, "cRLDistributionPoints", "4.2.1.13"),
    (x509.OCSPNoCheck, "id-pkix-ocsp-nocheck", "RFC 6960 4.2.2.2.1"),
)
_KNOWN = {
    x509.AuthorityInformationAccess,
    x509.AuthorityKeyIdentifier,
    x509.BasicConstraints,
    x509.CRLDistributionPoints,
    x509.ExtendedKeyUsage,
    x509.KeyUsage,
    x509.NameConstraints,
    x509.OCSPNoCheck,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
}
"""All that CLM writes."""


def known(view: View) -> Iterator[str]:
    """No extension is there that no check has looked at."""
    for kind, extension in view.extensions.items():
        if kind not in _KNOWN:
            yield f"the extension {extension.oid.dotted_string} belongs to no profile of CLM's (RFC 5280 4.2)"


def criticality(view: View) -> Iterator[str]:
    """What everybody may pass over is not critical; keyUsage is."""
    for kind, name, section in _NEVER_CRITICAL:
        if view.is_critical(kind):
            where = section if section.startswith("RFC") else f"RFC 5280 {section}"
            yield f"{name} is critical ({where})"
    if view.is_critical(x509.KeyUsage) is False:
        yield "keyUsage is not critical (RFC 5280 4.2.1.3)"


def authority(view: View) -> Iterator[str]:
    """CA bit, keyCertSign, path length and the issuer's right to issue CAs fit together."""
    constraints, usage = view.value(x509.BasicConstraints), view.value(x509.KeyUsage)
    if constraints is None or (constraints.ca and not view.is_critical(x509.BasicConstraints)):
        yield "basicConstraints is missing or not critical (RFC 5280 4.2.1.9)"
        return
    if (usage is not None and usage.key_cert_sign) != constraints.ca:
        yield "keyCertSign and the CA bit do not agree (RFC 5280 4.2.1.3, 4.2.1.9)"
    if constraints.path_length is not None and not constraints.ca:
        yield "a path length in a certificate that is no CA's (RFC 5280 4.2.1.9)"
    limit = view.issuer.path_length
    if limit is None:
        return
    if limit < 0 or (constraints.ca and limit == 0):
        yield "the path lengths above leave no room for this certificate (RFC 5280 4.2.1.9)"
    elif constraints.ca and constraints.path_length is not None and constraints.path_length >= limit:
        yield f"the path lengths above leave room for one of {limit - 1} at most (RFC 5280 4.2.1.9)"


def identifiers(view: View) -> Iterator[str]:
    """Subject and authority key identifiers are there; the authority's is the issuer's, and nothing but the key's."""
    own = view.value(x509.SubjectKeyIdentifier)
    if own is None or not own.digest:
        yield "subjectKeyIdentifier is missing (RFC 5280 4.2.1.2)"
    issuers = view.value(x509.AuthorityKeyIdentifier)
    if issuers is None:
        yield "authorityKeyIdentifier is missing (RFC 5280 4.2.1.1)"
        return
    if issuers.key_identifier != view.issuer.key_identifier.digest:
        yield "authorityKeyIdentifier is not the issuer's (RFC 5280 4.2.1.1)"
    if issuers.authority_cert_issuer or issuers.authority_cert_serial_number is not None:
        yield "authorityKeyIdentifier names a certificate, which a renewed CA would leave behind (RFC 5280 4.2.1.1)"


def key_usage(view: View) -> Iterator[str]:
    """A usage is given, and every bit is one that keys of this kind have."""
    usage, extended = view.value(x509.KeyUsage), view.value(x509.ExtendedKeyUsage)
    if (usage is None and extended is None) or (usage is not None and asserts_nothing(usage)):
        yield "neither keyUsage nor extKeyUsage allows anything: add to spec.usages (RFC 5280 4.2.1.3)"
    if usage is None:
        return
    try:
        algorithm = key_spec_of(supported(view.certificate.public_key())).algorithm
    except ValueError:
        return  # the check of the key tells
    for name in sorted(beyond(algorithm, signs_certificates=usage.key_cert_sign)):
        if has_bit(usage, KEY_USAGES[name]):
            whose = "keys that sign certificates" if usage.key_cert_sign else "keys"
            yield f"{algorithm} {whose} have no {name} (RFC 3279 2.3.1, RFC 8813 3, RFC 9295 3)"


def extended_key_usage(view: View) -> Iterator[str]:
    """Purposes stand once each, time stamping alone and critical, and one is left that the key usage allows."""
    extended, usage = view.value(x509.ExtendedKeyUsage), view.value(x509.KeyUsage)
    if extended is None:
        return
    purposes = list(extended)
    if len(set(purposes)) < len(purposes):
        yield "extKeyUsage has a purpose twice (RFC 5280 4.2.1.12)"
    if ExtendedKeyUsageOID.TIME_STAMPING in purposes:
        if len(purposes) > 1:
            yield "timestamping goes with no other extended usage (RFC 3161 2.3)"
        elif not view.is_critical(x509.ExtendedKeyUsage):
            yield "extKeyUsage of a time stamping authority is not critical (RFC 3161 2.3)"
    if usage is not None and not view.is_ca and not any(_is_possible(purpose, usage) for purpose in purposes):
        yield "keyUsage allows nothing that extKeyUsage is for: change spec.usages (RFC 5280 4.2.1.12)"


def ocsp_no_check(view: View) -> Iterator[str]:
    """Only the certificate of an OCSP responder says that nobody need ask about it."""
    extended = view.value(x509.ExtendedKeyUsage)
    signs = extended is not None and ExtendedKeyUsageOID.OCSP_SIGNING in extended
    if view.value(x509.OCSPNoCheck) is not None and not signs:
        yield "id-pkix-ocsp-nocheck in a certificate that is no OCSP responder's (RFC 6960 4.2.2.2.1)"


def _is_possible(purpose: x509.ObjectIdentifier, usage: x509.KeyUsage) -> bool:
    bits = OF_PURPOSE.get(purpose.dotted_string)
    return bits is None or any(has_bit(usage, bit) for bit in bits)
