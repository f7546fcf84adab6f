"""Subject and alternative names of a request, in the fields in which a Certificate's spec has them.

Whether each name is well-formed and allowed is decided where it is for every spec. Here is decided whether a spec could
have said it at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.names import SUBJECT_FIELDS
from clm.pki.text import named, quoted
from clm.resources.problems import refuse
from clm.resources.subject import OtherName, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELD = "spec.request"

# RFC 5280 4.1.2.4: the two string types for what is new, and X.520 6.2.9 and 6.3.1: one of them for these two.
_PRINTABLE_ONLY = {NameOID.COUNTRY_NAME, NameOID.SERIAL_NUMBER}
_STRINGS = {
    der.UTF8_STRING: "UTF8String",
    der.PRINTABLE_STRING: "PrintableString",
    0x14: "TeletexString",
    0x16: "IA5String",
    0x1C: "UniversalString",
    0x1E: "BMPString",
}

# As many as the CRD lets a spec have, and as long.
_MOST_OF_AN_ATTRIBUTE = 8
_MOST_COUNTRIES = 4
_MOST_NAMES = {"dnsNames": 250, "ipAddresses": 100, "uris": 100, "emailAddresses": 100, "otherNames": 50}
_LONGEST = {"dnsNames": 253, "uris": 2048, "emailAddresses": 254, "otherNames": 1024}


class AlternativeNames(NamedTuple):
    """What the subjectAltName of a request has, by the spec's fields."""

    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    other_names: tuple[OtherName, ...] = ()


def subject_attributes(encoded: bytes) -> tuple[Subject, str | None]:
    """Subject and common name, as a spec has them, of a Name in DER that was read once by a strict parser.

    Raises one InvalidInput that names every attribute that a spec does not have, or has once only, every relative name
    of several attributes, and every string type that certificates no longer use.
    """
    values: dict[str, list[str]] = {}
    problems: list[tuple[str, str]] = []
    for relative in der.children(encoded):
        try:
            field, value = _attribute(der.children(relative))
        except InvalidInput as error:
            problems.append((FIELD, f"subject: {error.message}"))
        else:
            values.setdefault(field, []).append(value)
    problems += [(FIELD, f"subject: {problem}") for problem in _too_many(values)]
    refuse(problems)
    common_names, serials = values.pop("common_name", []), values.pop("serial_number", [])
    lists = {field: tuple(found) for field, found in values.items()}
    subject = Subject(serial_number=serials[0] if serials else None, **lists)
    return subject, common_names[0] if common_names else None


def alternative_names(extensions: x509.Extensions) -> AlternativeNames:
    """Names of the subjectAltName extension; none without it.

    Raises one InvalidInput that names every kind of name that a spec does not have, and what is too much or too long.
    """
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return AlternativeNames()
    found: dict[str, list[str | OtherName]] = {field: [] for field in _MOST_NAMES}
    problems: list[tuple[str, str]] = []
    for index, name in enumerate(names):
        try:
            field, value = _by_field(name)
        except InvalidInput as error:
            problems.append((FIELD, f"subjectAltName[{index}]: {error.message}"))
        else:
            found[field].append(value)
    problems += [(FIELD, f"subjectAltName: {problem}") for problem in _too_much(found)]
    refuse(problems)
    return AlternativeNames(*(tuple(values) for values in found.values()))  # type: ignore[arg-type]


def _attribute(pairs: list[bytes]) -> tuple[str, str]:
    """Field and value of a relative name. Raises InvalidInput for what a spec does not have."""
    if len(pairs) != 1:
        raise InvalidInput(FIELD, f"{len(pairs)} attributes share a relative name; give each one of its own")
    encoded, value = der.children(pairs[0])
    oid = x509.ObjectIdentifier(der.dotted(encoded))
    label, field = named(oid), SUBJECT_FIELDS.get(oid)
    if field is None:
        raise InvalidInput(FIELD, f"a Certificate has no attribute {label}; leave it out")
    allowed = {der.PRINTABLE_STRING} if oid in _PRINTABLE_ONLY else {der.PRINTABLE_STRING, der.UTF8_STRING}
    if value[0] not in allowed:
        wanted = " or ".join(sorted(_STRINGS[each] for each in allowed))
        kind = _STRINGS.get(value[0], f"value of type {value[0]}")
        raise InvalidInput(FIELD, f"{label} is a {kind}; write it as a {wanted} (RFC 5280 4.1.2.4)")
    try:
        text = der.content(value).decode()
    except UnicodeDecodeError:
        raise InvalidInput(FIELD, f"{label} is not UTF-8") from None
    if not text:
        raise InvalidInput(FIELD, f"{label} is empty; leave it out")
    return field, text


def _too_many(values: dict[str, list[str]]) -> Iterator[str]:
    most = {"common_name": 1, "serial_number": 1, "countries": _MOST_COUNTRIES}
    for field, found in values.items():
        if len(found) > most.get(field, _MOST_OF_AN_ATTRIBUTE):
            yield f"has {len(found)} of {field}; {most.get(field, _MOST_OF_AN_ATTRIBUTE)} is the most"


def _by_field(name: x509.GeneralName) -> tuple[str, str | OtherName]:
    """Field and value of one name. Raises InvalidInput for a kind that a spec does not have."""
    match name:
        case x509.DNSName():
            return "dnsNames", name.value
        case x509.IPAddress():
            return "ipAddresses", str(name.value)
        case x509.UniformResourceIdentifier():
            return "uris", name.value
        case x509.RFC822Name():
            return "emailAddresses", name.value
        case x509.OtherName():
            return "otherNames", _other_name(name)
        case x509.DirectoryName():
            kind = "directoryName"
        case x509.RegisteredID():
            kind = "registeredID"
        case _:
            kind = type(name).__name__
    raise InvalidInput(FIELD, f"a Certificate has no {kind}; leave it out (RFC 5280 4.2.1.6)")


def _other_name(name: x509.OtherName) -> OtherName:
    oid, value = name.type_id.dotted_string, name.value
    if not value or value[0] != der.UTF8_STRING:
        raise InvalidInput(FIELD, f"otherName {oid} is not a UTF8String, the one encoding that a Certificate has")
    try:
        text = der.content(value).decode()
    except (IndexError, UnicodeDecodeError):
        text = ""
    if not text or der.tlv(der.UTF8_STRING, text.encode()) != value:
        raise InvalidInput(FIELD, f"otherName {oid} is not a UTF8String in DER")
    return OtherName(oid=oid, utf8_value=text)


def _too_much(found: dict[str, list[str | OtherName]]) -> Iterator[str]:
    for field, values in found.items():
        if len(values) > _MOST_NAMES[field]:
            yield f"has {len(values)} of {field}; {_MOST_NAMES[field]} are the most"
        for value in values:
            text = value.utf8_value if isinstance(value, OtherName) else value
            if len(text) > _LONGEST.get(field, len(text)):
                yield f"{field}: {quoted(text[:40])}… has {len(text)} characters; {_LONGEST[field]} are the most"
