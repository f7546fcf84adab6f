"""What a request asks for besides names (PKCS#9 extensionRequest, RFC 2985 5.4.2), held against the spec.

The spec decides what is in the certificate. A request may say the same or less; where it says more, or what a spec
cannot say, somebody would get another certificate than asked for: that is refused. What the issuer decides alone, and
what says nothing about the certificate, is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from clm.errors import InvalidInput
from clm.pki import constraints, usages
from clm.pki.text import error_text, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.resources.certificate import CertificateSpec

    _Problem = tuple[str, str]

_Value = TypeVar("_Value", bound=x509.ExtensionType)

FIELD = "spec.request"

_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
_PASSED_OVER_ATTRIBUTES = {
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.7": "challengePassword",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.13.2.2": "Microsoft enrolment CSP",
    "1.3.6.1.4.1.311.13.2.3": "Microsoft OS version",
    "1.3.6.1.4.1.311.21.20": "Microsoft request client info",
}
"""Attributes that say who made the request and how (RFC 2985 5.4, MS-WCCE 2.2.2.7), nothing about the certificate."""

_DECIDED_BY_SPEC = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
}
_PASSED_OVER = {
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    x509.ObjectIdentifier("1.2.840.113549.1.9.15"),  # S/MIME capabilities
    x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2"),  # Microsoft certificate template, by name
    x509.ObjectIdentifier("1.3.6.1.4.1.311.21.7"),  # the same, by number
    x509.ObjectIdentifier("1.3.6.1.4.1.311.21.10"),  # Microsoft application policies, a copy of extKeyUsage
    x509.ObjectIdentifier("2.16.840.1.113730.1.1"),  # Netscape certificate type
    x509.ObjectIdentifier("2.16.840.1.113730.1.13"),  # Netscape comment
}
"""Extensions that the issuer decides alone, and hints to the software of others, which nobody misses."""


def extension_request(csr: x509.CertificateSigningRequest) -> x509.Extensions:
    """Extensions that a request asks for.

    Raises InvalidInput when they cannot be read, and for every attribute and extension that would be lost in silence.
    """
    try:
        attributes = [attribute.oid.dotted_string for attribute in csr.attributes]
        extensions = csr.extensions
        oids = [extension.oid for extension in extensions]
    except Exception as error:  # noqa: BLE001 - see clm.pki.csr
        raise InvalidInput(FIELD, f"its attributes cannot be read: {error_text(error)}") from None
    if attributes.count(_EXTENSION_REQUEST) > 1:
        raise InvalidInput(FIELD, "has more than one extensionRequest (RFC 2985 5.4.2)")
    for attribute in attributes:
        if attribute != _EXTENSION_REQUEST and attribute not in _PASSED_OVER_ATTRIBUTES:
            raise InvalidInput(FIELD, f"has the attribute {attribute}, which a Certificate cannot say; leave it out")
    for oid in oids:
        if oid not in _DECIDED_BY_SPEC and oid not in _PASSED_OVER:
            raise InvalidInput(
                FIELD, f"asks for the extension {named(oid)}, which a Certificate cannot say; leave it out"
            )
    return extensions


def beyond_the_spec(extensions: x509.Extensions, spec: CertificateSpec) -> Iterator[_Problem]:
    """Iterate over what the request asks for and the spec does not give, with what to change."""
    yield from ((FIELD, problem) for problem in _authority(extensions, spec))
    yield from ((FIELD, problem) for problem in _usages(extensions, spec))
    yield from ((FIELD, problem) for problem in _name_constraints(extensions, spec))


def _authority(extensions: x509.Extensions, spec: CertificateSpec) -> Iterator[str]:
    asked = _value(extensions, x509.BasicConstraints)
    if asked is None:
        return
    if asked.ca != spec.is_ca:
        yield f"asks for {'a CA' if asked.ca else 'no CA'}; spec.isCA says otherwise (basicConstraints)"
    elif asked.path_length is not None and asked.path_length != spec.max_path_length:
        yield f"asks for the path length {asked.path_length}; set spec.maxPathLen to it (basicConstraints)"


def _usages(extensions: x509.Extensions, spec: CertificateSpec) -> Iterator[str]:
    """Usages that the spec does not give. What keys of this kind cannot do, no certificate of theirs says."""
    algorithm = spec.private_key.key.algorithm
    given, extended = usages.key_usage(spec.usages, algorithm=algorithm), usages.extended_key_usage(spec.usages)
    asked = _value(extensions, x509.KeyUsage)
    bits = set(usages.usage_names([given])) if given is not None else set()
    beyond = usages.beyond(algorithm, signs_certificates=spec.is_ca)
    for usage in usages.usage_names([asked]) if asked is not None else ():
        if usage not in bits and usage not in beyond:
            yield f'asks for the usage "{usage}"; add it to spec.usages (keyUsage)'
    purposes = set(extended or ())
    for oid in _value(extensions, x509.ExtendedKeyUsage) or ():
        if oid not in purposes:
            usage = next(usages.usage_names([x509.ExtendedKeyUsage([oid])]), oid.dotted_string)
            yield f'asks for the usage "{usage}"; add it to spec.usages (extKeyUsage)'


def _name_constraints(extensions: x509.Extensions, spec: CertificateSpec) -> Iterator[str]:
    asked = _value(extensions, x509.NameConstraints)
    given = constraints.name_constraints(spec.name_constraints) if spec.name_constraints is not None else None
    if asked is not None and asked != given:
        yield "asks for other nameConstraints than spec.nameConstraints; say there what is meant"


def _value(extensions: x509.Extensions, kind: type[_Value]) -> _Value | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
