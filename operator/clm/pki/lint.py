"""Profile checks on every to-be-signed certificate, before anything is signed.

Each check is a function from a draft to findings; they cost some microseconds. They read the certificate as it was
built, not what it was built from: what they find is a defect of CLM, or asks for what verifiers reject. It is never
something to be signed and explained later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from clm.pki.constraints import hosts_in, outside
from clm.pki.keys import key_spec_of, supported
from clm.pki.usages import asserts_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.pki.profile import Issuer
    from clm.pki.tbs import Draft

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_MAX_SERIAL_BITS = 159
_MIN_SERIAL_BITS = 64


@dataclass(frozen=True, slots=True)
class _View:
    certificate: x509.Certificate
    issuer: Issuer
    extensions: dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]

    def value(self, kind: type[_Value]) -> _Value | None:
        found = self.extensions.get(kind)
        return found.value if found is not None and isinstance(found.value, kind) else None

    @property
    def is_ca(self) -> bool:
        constraints = self.value(x509.BasicConstraints)
        return constraints is not None and constraints.ca


def lint(draft: Draft, *, issuer: Issuer) -> tuple[str, ...]:
    """Check a draft. Returns the findings, each with the section that it breaks; none when it may be signed."""
    try:
        extensions = {type(extension.value): extension for extension in draft.certificate.extensions}
    except (x509.DuplicateExtension, ValueError) as error:
        return (f"extensions cannot be read: {error} (RFC 5280 4.2)",)
    view = _View(draft.certificate, issuer, extensions)
    return tuple(finding for check in CHECKS for finding in check(view))


def _serial(view: _View) -> Iterator[str]:
    """The serial is positive, fits 20 octets and holds at least 64 bits."""
    bits = view.certificate.serial_number.bit_length()
    if not _MIN_SERIAL_BITS <= bits <= _MAX_SERIAL_BITS:
        yield f"serialNumber has {bits} bits (RFC 5280 4.1.2.2)"


def _validity(view: _View) -> Iterator[str]:
    """The validity is a span, and inside the issuer's."""
    begin, end = view.certificate.not_valid_before_utc, view.certificate.not_valid_after_utc
    issuer = view.issuer
    if end <= begin:
        yield "notAfter is not after notBefore (RFC 5280 4.1.2.5)"
    if issuer.not_before is not None and begin < issuer.not_before:
        yield "notBefore is before the issuer's (RFC 5280 6.1.3)"
    if issuer.not_after is not None and end > issuer.not_after:
        yield "notAfter is past the issuer's (RFC 5280 6.1.3)"


def _names(view: _View) -> Iterator[str]:
    """A CA has a subject, a server a name in its SAN; whoever has no subject has a critical SAN."""
    names = view.extensions.get(x509.SubjectAlternativeName)
    usage = view.value(x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH in usage and names is None and not view.is_ca:
        yield "server auth without a name that clients look at: add dnsNames or ipAddresses (RFC 9525 6.3)"
    if view.certificate.subject.rdns:
        return
    if view.is_ca:
        yield "a CA's subject is empty (RFC 5280 4.1.2.6)"
    if names is None or not names.critical:
        yield "the subject is empty and subjectAltName is not critical (RFC 5280 4.2.1.6)"


def _issuer_name(view: _View) -> Iterator[str]:
    """The issuer is named as in its own certificate, and whoever has no issuer is one itself."""
    expected = view.issuer.subject if view.issuer.subject is not None else view.certificate.subject
    if view.certificate.issuer != expected:
        yield "the issuer is not named as in its certificate (RFC 5280 4.1.2.4)"


def _authority(view: _View) -> Iterator[str]:
    """CA bit, keyCertSign, path length and the issuer's right to issue CAs fit together."""
    constraints, usage = view.value(x509.BasicConstraints), view.value(x509.KeyUsage)
    if constraints is None or (constraints.ca and not view.extensions[x509.BasicConstraints].critical):
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


def _identifiers(view: _View) -> Iterator[str]:
    """Subject and authority key identifiers are there, and the authority's is the issuer's."""
    if view.value(x509.SubjectKeyIdentifier) is None:
        yield "subjectKeyIdentifier is missing (RFC 5280 4.2.1.2)"
    authority = view.value(x509.AuthorityKeyIdentifier)
    if authority is None:
        yield "authorityKeyIdentifier is missing (RFC 5280 4.2.1.1)"
    elif authority.key_identifier != view.issuer.key_identifier.digest:
        yield "authorityKeyIdentifier is not the issuer's (RFC 5280 4.2.1.1)"


def _usages(view: _View) -> Iterator[str]:
    """A usage is given, and time stamping stands alone."""
    usage, extended = view.value(x509.KeyUsage), view.value(x509.ExtendedKeyUsage)
    if (usage is None and extended is None) or (usage is not None and asserts_nothing(usage)):
        yield "neither keyUsage nor extKeyUsage allows anything: add to spec.usages (RFC 5280 4.2.1.3)"
    if extended is not None and ExtendedKeyUsageOID.TIME_STAMPING in extended and len(list(extended)) > 1:
        yield "timestamping goes with no other extended usage (RFC 3161 2.3)"


def _key(view: _View) -> Iterator[str]:
    """The key is of a kind and size that CLM makes, and the issuer's own only where it signs itself."""
    try:
        key = supported(view.certificate.public_key())
        key_spec_of(key)
    except ValueError as error:
        yield f"subjectPublicKeyInfo: {error}"
        return
    if (key == view.issuer.public_key) != (view.issuer.certificate_id is None):
        yield "the issuer's key in a certificate that is not its own, or another in its own (RFC 5280 3.2)"


def _name_constraints(view: _View) -> Iterator[str]:
    """Only a CA constrains names; the names lie within what the CAs above permit."""
    if view.value(x509.NameConstraints) is not None and not view.is_ca:
        yield "nameConstraints in a certificate that is no CA's (RFC 5280 4.2.1.10)"
    names = view.value(x509.SubjectAlternativeName) or ()
    for finding in outside(names, view.issuer.name_constraints):
        yield f"{finding} (RFC 5280 4.2.1.10)"
    if any(isinstance(name, x509.DNSName) for name in names):
        return
    for finding in outside(hosts_in(view.certificate.subject), view.issuer.name_constraints):
        yield f"spec.commonName: {finding}; without dnsNames verifiers take it for a host (RFC 5280 4.2.1.10)"


CHECKS = (
    _serial,
    _validity,
    _names,
    _issuer_name,
    _authority,
    _identifiers,
    _usages,
    _key,
    _name_constraints,
)
