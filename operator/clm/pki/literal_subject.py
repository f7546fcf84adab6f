"""`spec.literalSubject`: a subject that is written as one RFC 4514 string, for those who need its very order.

As in that RFC, and in cert-manager, the text begins with the last relative name of the certificate: `CN=web,O=Shop` has
the organization first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.rfc4514 import Attribute, parse_rdns
from clm.pki.text import is_mailbox, object_identifier, quoted
from clm.resources.problems import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

FIELD = "spec.literalSubject"

_OTHER_MOST = 256
_NAME_MOST = 32_768  # ub-name of RFC 5280 appendix A.1


class _Type(NamedTuple):
    oid: x509.ObjectIdentifier
    most: int
    keywords: tuple[str, ...]
    fits: Callable[[str], object] | None = None
    wrong: str = ""


_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]+\Z", re.ASCII)
_NOT_PRINTABLE = "has other characters than letters, digits, spaces and '()+,-./:=?"
_COUNTRY = re.compile(r"[A-Z]{2}\Z", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\Z", re.ASCII)

# Keywords: RFC 4514 3 first, then those of RFC 4519, RFC 5280 appendix A.1 and cert-manager, and OpenSSL's where it has
# others. Most characters: RFC 5280 appendix A.1 (ub-*), X.520, RFC 4524 for UID, RFC 1034 for a label of a domain.
_TYPES = (
    _Type(NameOID.COMMON_NAME, 64, ("CN", "commonName")),
    _Type(NameOID.LOCALITY_NAME, 128, ("L", "localityName")),
    _Type(NameOID.STATE_OR_PROVINCE_NAME, 128, ("ST", "stateOrProvinceName")),
    _Type(NameOID.ORGANIZATION_NAME, 64, ("O", "organizationName")),
    _Type(NameOID.ORGANIZATIONAL_UNIT_NAME, 64, ("OU", "organizationalUnitName")),
    _Type(
        NameOID.COUNTRY_NAME, 2, ("C", "countryName"), _COUNTRY.match, "is not a country code of two capital letters"
    ),
    _Type(NameOID.STREET_ADDRESS, 128, ("STREET", "streetAddress")),
    _Type(NameOID.DOMAIN_COMPONENT, 63, ("DC", "domainComponent"), _LABEL.match, "is not one label of a DNS name"),
    _Type(NameOID.USER_ID, 256, ("UID", "userId")),
    _Type(NameOID.SERIAL_NUMBER, 64, ("serialNumber",), _PRINTABLE.match, _NOT_PRINTABLE),
    _Type(NameOID.POSTAL_CODE, 40, ("postalCode",)),
    _Type(NameOID.EMAIL_ADDRESS, 255, ("emailAddress", "E"), is_mailbox, "is not a mailbox in ASCII"),
    _Type(NameOID.SURNAME, _NAME_MOST, ("SN", "surname")),
    _Type(NameOID.GIVEN_NAME, _NAME_MOST, ("GN", "givenName")),
    _Type(x509.ObjectIdentifier("2.5.4.41"), _NAME_MOST, ("name",)),
    _Type(NameOID.INITIALS, _NAME_MOST, ("initials",)),
    _Type(NameOID.GENERATION_QUALIFIER, _NAME_MOST, ("generationQualifier",)),
    _Type(NameOID.TITLE, 64, ("title",)),
    _Type(NameOID.PSEUDONYM, 128, ("pseudonym",)),
    _Type(NameOID.DN_QUALIFIER, 64, ("dnQualifier",), _PRINTABLE.match, _NOT_PRINTABLE),
    _Type(NameOID.ORGANIZATION_IDENTIFIER, _OTHER_MOST, ("organizationIdentifier",)),
)
_BY_KEYWORD = {keyword.lower(): each for each in _TYPES for keyword in each.keywords}
_BY_OID = {each.oid: each for each in _TYPES}
_STRINGS = {der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING}


def parse_literal_subject(text: str) -> x509.Name:
    """Build the subject that the text says (RFC 4514 3, RFC 5280 4.1.2.4 and appendix A.1).

    Raises one InvalidInput that tells where the text is no name, or else every attribute that is not known, has a
    value that is too long, cannot be printed or does not fit its type, and every relative name with a type twice.
    """
    try:
        rdns = parse_rdns(text)
    except ValueError as error:
        raise InvalidInput(FIELD, str(error)) from None
    problems: list[tuple[str, str]] = []
    made = []
    for rdn in rdns:
        attributes = []
        for attribute in rdn:
            try:
                attributes.append(_made(attribute))
            except ValueError as error:
                problems.append((FIELD, f"{attribute.type}: {error}"))
        if len({attribute.oid for attribute in attributes}) < len(attributes):
            problems.append((FIELD, f"{rdn[0].type}: an attribute type stands twice in one relative name (X.501 9.3)"))
        made.append(attributes)
    refuse(problems)
    return x509.Name(x509.RelativeDistinguishedName(attributes) for attributes in reversed(made))


def attribute_label(oid: x509.ObjectIdentifier) -> str:
    """Write an attribute type as RFC 4514 does: its keyword, or else its object identifier."""
    known = _BY_OID.get(oid)
    return known.keywords[0] if known is not None else oid.dotted_string


def _made(attribute: Attribute) -> x509.NameAttribute[str]:
    known = _type(attribute.type)
    value = attribute.text if attribute.encoded is None else _string(attribute.encoded)
    # A NUL or a line break has one program read another name than the next.
    if not value.isprintable():
        raise ValueError("has characters that cannot be printed")
    if not 0 < len(value) <= known.most:
        raise ValueError(f"must have 1 to {known.most} characters, not {len(value)}")
    if known.fits is not None and not known.fits(value):
        raise ValueError(f"{quoted(value)} {known.wrong}")
    try:
        return x509.NameAttribute(known.oid, value)
    except ValueError:
        # cryptography counts octets of a common name where RFC 5280 appendix A.1 counts characters.
        raise ValueError(f"must have {known.most} octets at most in UTF-8, not {len(value.encode())}") from None


def _type(written: str) -> _Type:
    if written[0].isdigit():
        oid = object_identifier(written)
        return _BY_OID.get(oid) or _Type(oid, _OTHER_MOST, ())
    known = _BY_KEYWORD.get(written.lower())
    if known is None:
        listed = ", ".join(each.keywords[0] for each in _TYPES)
        raise ValueError(f"is not a known attribute type; write its object identifier, or one of {listed}")
    return known


def _string(encoded: bytes) -> str:
    """Read a value given as `#` and the hexadecimal digits of its DER. Raises ValueError unless it is one string."""
    try:
        if encoded[0] in _STRINGS and der.tlv(encoded[0], der.content(encoded)) == encoded:
            return der.content(encoded).decode("utf-8" if encoded[0] == der.UTF8_STRING else "ascii")
    except (IndexError, UnicodeDecodeError):
        pass
    raise ValueError("its # value is not one UTF8String, PrintableString or IA5String in DER")
