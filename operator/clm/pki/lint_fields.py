"""Checks of the fields of a certificate that are no extensions (RFC 5280 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from clm.errors import SignatureInvalid
from clm.pki import der
from clm.pki.algorithms import identified_hash
from clm.pki.keys import key_spec_of, supported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.pki.lint_view import View

_MAX_SERIAL_BITS = 159
_MIN_SERIAL_BITS = 64
_V3 = b"\xa0\x03\x02\x01\x02"
_GENERALIZED_TIME = 0x18
_FIRST_YEAR_OF_GENERALIZED_TIME = 2050

# The one ASN.1 string that each attribute is (RFC 5280 4.1.2.4 and appendix A.1); all others are DirectoryStrings.
_PRINTABLE, _IA5 = frozenset({der.PRINTABLE_STRING}), frozenset({der.IA5_STRING})
_DIRECTORY_STRING = frozenset({der.PRINTABLE_STRING, der.UTF8_STRING})
_STRINGS = {
    NameOID.COUNTRY_NAME.dotted_string: _PRINTABLE,
    NameOID.SERIAL_NUMBER.dotted_string: _PRINTABLE,
    NameOID.DN_QUALIFIER.dotted_string: _PRINTABLE,
    NameOID.DOMAIN_COMPONENT.dotted_string: _IA5,
    NameOID.EMAIL_ADDRESS.dotted_string: _IA5,
}


def version(view: View) -> Iterator[str]:
    """The version is 3, because there are extensions."""
    if view.parts.version != _V3:
        yield "the version is not 3 (RFC 5280 4.1.2.1)"


def serial(view: View) -> Iterator[str]:
    """The serial is positive, fits 20 octets and holds at least 64 bits."""
    bits = view.certificate.serial_number.bit_length()
    if view.certificate.serial_number <= 0 or not _MIN_SERIAL_BITS <= bits <= _MAX_SERIAL_BITS:
        yield f"serialNumber has {bits} bits (RFC 5280 4.1.2.2)"


def signature(view: View) -> Iterator[str]:
    """The signature algorithm is one of the issuer's key, with the parameters that it has to have."""
    try:
        identified_hash(view.parts.signature, view.issuer.spec)
    except SignatureInvalid as error:
        yield f"{error} (RFC 5280 4.1.1.2)"


def validity(view: View) -> Iterator[str]:
    """The validity is a span, inside the issuer's, and in the form that its years have to have."""
    begin, end = view.certificate.not_valid_before_utc, view.certificate.not_valid_after_utc
    issuer = view.issuer
    if end <= begin:
        yield "notAfter is not after notBefore (RFC 5280 4.1.2.5)"
    if issuer.not_before is not None and begin < issuer.not_before:
        yield "notBefore is before the issuer's (RFC 5280 6.1.3)"
    if issuer.not_after is not None and end > issuer.not_after:
        yield "notAfter is past the issuer's (RFC 5280 6.1.3)"
    for encoded, moment in zip(der.children(view.parts.validity), (begin, end), strict=True):
        if (encoded[0] == _GENERALIZED_TIME) != (moment.year >= _FIRST_YEAR_OF_GENERALIZED_TIME):
            yield "a time is not in the form that its year asks for (RFC 5280 4.1.2.5)"


def subject(view: View) -> Iterator[str]:
    """Every attribute of the subject is a string of its type, not empty, and stands once in its relative name."""
    for relative in der.children(view.parts.subject):
        types = []
        for pair in der.children(relative):
            oid, value = der.children(pair)
            types.append(oid)
            dotted = der.dotted(oid)
            if value[0] not in _STRINGS.get(dotted, _DIRECTORY_STRING):
                yield f"subject: {dotted} is a string of another type (RFC 5280 4.1.2.4)"
            if not der.content(value):
                yield f"subject: {dotted} is empty (RFC 5280 appendix A.1)"
        if len(set(types)) < len(types):
            yield "subject: an attribute type stands twice in one relative name (X.501 9.3)"


def issuer_name(view: View) -> Iterator[str]:
    """The issuer is named as in its own certificate, and whoever has no issuer is one itself."""
    expected = view.issuer.subject if view.issuer.subject is not None else view.certificate.subject
    if view.certificate.issuer != expected:
        yield "the issuer is not named as in its certificate (RFC 5280 4.1.2.4)"


def key(view: View) -> Iterator[str]:
    """The key is of a kind and size that CLM certifies, and the issuer's own only where it signs itself."""
    try:
        public_key = supported(view.certificate.public_key())
        key_spec_of(public_key)
    except ValueError as error:
        yield f"subjectPublicKeyInfo: {error}"
        return
    if (public_key == view.issuer.public_key) != (view.issuer.certificate_id is None):
        yield "the issuer's key in a certificate that is not its own, or another in its own (RFC 5280 3.2)"
