"""Checks of the names and addresses in a certificate's extensions (RFC 5280 4.2.1.6, 4.2.1.10, 4.2.1.13, 4.2.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from clm.pki.constraints import hosts_in, mailboxes_in, outside
from clm.pki.text import is_host, is_mailbox, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.pki.lint_view import View


def subject_and_names(view: View) -> Iterator[str]:
    """A CA has a subject, a server a name in its SAN; whoever has no subject has a critical SAN, and nobody else."""
    names = view.extensions.get(x509.SubjectAlternativeName)
    usage = view.value(x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH in usage and names is None and not view.is_ca:
        yield "server auth without a name that clients look at: add dnsNames or ipAddresses (RFC 9525 6.3)"
    if view.certificate.subject.rdns:
        if names is not None and names.critical:
            yield "subjectAltName is critical beside a subject (RFC 5280 4.2.1.6)"
        return
    if view.is_ca:
        yield "a CA's subject is empty (RFC 5280 4.1.2.6)"
    if names is None or not names.critical:
        yield "the subject is empty and subjectAltName is not critical (RFC 5280 4.2.1.6)"


def alternative_names(view: View) -> Iterator[str]:
    """There is a name, each is one of its kind, and none stands twice."""
    names = view.value(x509.SubjectAlternativeName)
    if names is None:
        return
    listed = list(names)
    if not listed:
        yield "subjectAltName is empty (RFC 5280 4.2.1.6)"
    if len(set(listed)) < len(listed):
        yield "subjectAltName has a name twice (RFC 5280 4.2.1.6)"
    for name in listed:
        if not _is_well_formed(name):
            yield f"subjectAltName: {quoted(str(name.value))} is not a name of its kind (RFC 5280 4.2.1.6)"


def name_constraints(view: View) -> Iterator[str]:
    """Only a CA constrains names, by something; the names lie within what the CAs above permit."""
    own = view.value(x509.NameConstraints)
    if own is not None and not view.is_ca:
        yield "nameConstraints in a certificate that is no CA's (RFC 5280 4.2.1.10)"
    if own is not None and not (own.permitted_subtrees or own.excluded_subtrees):
        yield "nameConstraints constrain nothing (RFC 5280 4.2.1.10)"
    limits, subject = view.issuer.name_constraints, view.certificate.subject
    if not limits:
        return
    names = view.value(x509.SubjectAlternativeName) or ()
    for finding in outside(names, limits):
        yield f"{finding} (RFC 5280 4.2.1.10)"
    for finding in outside(mailboxes_in(subject), limits):
        yield f"the subject's emailAddress: {finding} (RFC 5280 4.2.1.10)"
    if any(isinstance(name, x509.DNSName) for name in names):
        return
    for finding in outside(hosts_in(subject), limits):
        yield f"spec.commonName: {finding}; without dnsNames verifiers take it for a host (RFC 5280 4.2.1.10)"


def addresses(view: View) -> Iterator[str]:
    """CRLs, OCSP responders and issuers are at HTTP addresses: over TLS one certificate would ask for the next."""
    points = view.value(x509.CRLDistributionPoints)
    for point in points or ():
        if not point.full_name or point.relative_name or point.reasons or point.crl_issuer:
            yield "cRLDistributionPoints: a point has not just its full name (RFC 5280 4.2.1.13)"
        for name in point.full_name or ():
            if not _is_address(name):
                yield f"cRLDistributionPoints: {quoted(str(name.value))} is no HTTP address (RFC 5280 4.2.1.13, 8)"
    for access in view.value(x509.AuthorityInformationAccess) or ():
        if not _is_address(access.access_location):
            told = quoted(str(access.access_location.value))
            yield f"authorityInfoAccess: {told} is no HTTP address (RFC 5280 4.2.2.1, 8)"


def _is_well_formed(name: x509.GeneralName) -> bool:
    match name:
        case x509.DNSName():
            return is_host(name.value.removeprefix("*."))
        case x509.RFC822Name():
            return is_mailbox(name.value)
        case x509.UniformResourceIdentifier():
            parts = urlsplit(name.value)
            return bool(parts.scheme and (parts.netloc or parts.path)) and name.value.isascii()
        case x509.IPAddress():
            return not hasattr(name.value, "netmask")
        case x509.OtherName():
            return bool(name.value)
        case _:
            return False  # directoryName, registeredID: CLM writes none


def _is_address(name: x509.GeneralName) -> bool:
    if not isinstance(name, x509.UniformResourceIdentifier):
        return False
    parts = urlsplit(name.value)
    return parts.scheme == "http" and bool(parts.hostname)
