"""Distinguished names: from a subject's attributes, and to the text that people read (RFC 4514)."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from clm.errors import InvalidInput
from clm.pki.literal_subject import parse_literal_subject
from clm.pki.text import quoted
from clm.resources.problems import build_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clm.resources.certificate import CertificateSpec
    from clm.resources.subject import Subject

    _NameAttribute = x509.NameAttribute[str]


class _Attribute(NamedTuple):
    field: str
    manifest_field: str
    oid: x509.ObjectIdentifier
    most: int


# The order in which Go's pkix.Name writes them, and so cert-manager; each value is an RDN of its own. Upper bounds in
# characters are those of RFC 5280 appendix A.1 (ub-*) and X.520 6.3 and 6.6.
_ATTRIBUTES = (
    _Attribute("countries", "countries", NameOID.COUNTRY_NAME, 2),
    _Attribute("organizations", "organizations", NameOID.ORGANIZATION_NAME, 64),
    _Attribute("organizational_units", "organizationalUnits", NameOID.ORGANIZATIONAL_UNIT_NAME, 64),
    _Attribute("localities", "localities", NameOID.LOCALITY_NAME, 128),
    _Attribute("provinces", "provinces", NameOID.STATE_OR_PROVINCE_NAME, 128),
    _Attribute("street_addresses", "streetAddresses", NameOID.STREET_ADDRESS, 128),
    _Attribute("postal_codes", "postalCodes", NameOID.POSTAL_CODE, 40),
)
SUBJECT_FIELDS = {attribute.oid: attribute.field for attribute in _ATTRIBUTES} | {
    NameOID.COMMON_NAME: "common_name",
    NameOID.SERIAL_NUMBER: "serial_number",
}
"""Field of a Subject by attribute, and `common_name`: everything that a spec can say of a subject."""
_COMMON_NAME_MOST = 64
_SERIAL_NUMBER_MOST = 64

_COUNTRY = re.compile(r"[A-Za-z]{2}\Z")
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]+\Z")


def distinguished_name(subject: Subject, common_name: str | None) -> x509.Name:
    """Build the subject of a certificate (RFC 5280 4.1.2.6).

    Raises one InvalidInput that names every value that is too long, has control characters, or does not fit the
    attribute's type.
    """
    return x509.Name(build_all(attribute_makers(subject, common_name)))


def subject_name(spec: CertificateSpec) -> x509.Name:
    """Build the subject of a certificate: of a request that somebody brought, as it is written there.

    Raises InvalidInput as `distinguished_name` and `parse_literal_subject` do.
    """
    if spec.signing_request is not None:
        return x509.load_der_x509_csr(spec.signing_request.der).subject
    if spec.literal_subject is not None:
        return parse_literal_subject(spec.literal_subject)
    return distinguished_name(spec.subject, spec.common_name)


def subject_makers(spec: CertificateSpec) -> Iterator[Callable[[], object]]:
    """Iterate over what makes the subject, or each attribute of it, or raises InvalidInput."""
    if spec.literal_subject is not None:
        yield partial(parse_literal_subject, spec.literal_subject)
    else:
        yield from attribute_makers(spec.subject, spec.common_name)


def attribute_makers(subject: Subject, common_name: str | None) -> Iterator[Callable[[], _NameAttribute]]:
    """Iterate over what makes each attribute, in their order, or raises InvalidInput."""
    for attribute in _ATTRIBUTES:
        values: tuple[str, ...] = getattr(subject, attribute.field)
        for index, value in enumerate(values):
            yield partial(_attribute, attribute, value, f"spec.subject.{attribute.manifest_field}[{index}]")
    if common_name:
        yield partial(_text, NameOID.COMMON_NAME, common_name, "spec.commonName", most=_COMMON_NAME_MOST)
    if subject.serial_number:
        yield partial(_serial_number, subject.serial_number)


def common_name_of(name: x509.Name) -> str | None:
    """First common name of a subject, which is what people call it by; None when it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else None


def name_text(name: x509.Name) -> str:
    """Write a name as RFC 4514 does: the last attribute first."""
    return name.rfc4514_string()


def _attribute(attribute: _Attribute, value: str, field: str) -> _NameAttribute:
    if attribute.oid is NameOID.COUNTRY_NAME and not _COUNTRY.match(value):
        raise InvalidInput(field, f"{quoted(value)} is not a country code of two letters (ISO 3166-1)")
    return _text(attribute.oid, value, field, most=attribute.most)


def _serial_number(value: str) -> _NameAttribute:
    field = "spec.subject.serialNumber"
    if not _PRINTABLE.match(value):
        # X.520 6.2.9 makes it a PrintableString.
        raise InvalidInput(field, "may hold letters, digits, spaces and '()+,-./:=? only")
    return _text(NameOID.SERIAL_NUMBER, value, field, most=_SERIAL_NUMBER_MOST)


def _text(oid: x509.ObjectIdentifier, value: str, field: str, *, most: int) -> _NameAttribute:
    # A NUL or a line break has one program read another name than the next.
    if not value.isprintable():
        raise InvalidInput(field, "has characters that cannot be printed")
    if not 0 < len(value) <= most:
        raise InvalidInput(field, f"must have 1 to {most} characters, not {len(value)}")
    try:
        return x509.NameAttribute(oid, value)
    except ValueError:
        # cryptography counts octets of a common name where RFC 5280 appendix A.1 counts characters.
        raise InvalidInput(field, f"must have {most} octets at most in UTF-8, not {len(value.encode())}") from None
