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
from clm.pki.literal_subject import parse_literal_subject
from clm.pki.names import SUBJECT_FIELDS
from clm.pki.text import named, quoted
from clm.resources.problems import refuse
from clm.resources.subject import OtherName, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELD = "spec.request"

_STRINGS = {
    der.UTF8_STRING: "UTF8String",
    der.PRINTABLE_STRING: "PrintableString",
    0x14: "TeletexString",
    der.IA5_STRING: "IA5String",
    0x1C: "UniversalString",
    der.BMP_STRING: "BMPString",
}

# RFC 5280 4.1.2.4: two string types for what is new; X.520 6.2.9 and 6.3.1, RFC 4519 2.4 and RFC 5280 4.1.2.6 have one.
_USUAL_STRINGS = frozenset({der.UTF8_STRING, der.PRINTABLE_STRING})
_STRINGS_OF = {
    NameOID.COUNTRY_NAME: frozenset({der.PRINTABLE_STRING}),
    NameOID.SERIAL_NUMBER: frozenset({der.PRINTABLE_STRING}),
    NameOID.DN_QUALIFIER: frozenset({der.PRINTABLE_STRING}),
    NameOID.DOMAIN_COMPONENT: frozenset({der.IA5_STRING}),
    NameOID.EMAIL_ADDRESS: frozenset({der.IA5_STRING}),
}

# As many as the CRD lets a spec have, and as long.
_MOST_OF_AN_ATTRIBUTE = 8
_MOST_OF = {"common_name": 1, "serial_number": 1, "countries": 4}
_MOST_OCTETS_OF_A_SUBJECT = 1024
_MOST_NAMES = {"dnsNames": 250, "ipAddresses": 100, "uris": 100, "emailAddresses": 100, "otherNames": 50}
_LONGEST = {"dnsNames": 253, "uris": 2048, "emailAddresses": 254, "otherNames": 1024}


class _Attribute(NamedTuple):
    oid: x509.ObjectIdentifier
    text: str
    encoded: bytes


class AlternativeNames(NamedTuple):
    """What the subjectAltName of a request has, by the spec's fields."""

    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    other_names: tuple[OtherName, ...] = ()


class SubjectSaid(NamedTuple):
    """A subject as a spec says it: by its fields, or where these do not suffice as a literalSubject."""

    subject: Subject = Subject()
    common_name: str | None = None
    literal: str | None = None


def subject_said(encoded: bytes) -> SubjectSaid:
    """Say what a Name does, given in DER that was read once by a strict parser.

    Raises one InvalidInput that names every attribute that a spec cannot say, and every string type that certificates
    no longer use.
    """
    if len(encoded) > _MOST_OCTETS_OF_A_SUBJECT:
        raise InvalidInput(
            FIELD, f"subject: has {len(encoded)} octets in DER; {_MOST_OCTETS_OF_A_SUBJECT} are the most"
        )
    problems: list[tuple[str, str]] = []
    rdns: list[list[_Attribute]] = []
    for relative in der.children(encoded):
        rdns.append([])
        for pair in der.children(relative):
            try:
                rdns[-1].append(_attribute(pair))
            except InvalidInput as error:
                problems.append((FIELD, f"subject: {error.message}"))
        if not der.children(relative):
            problems.append((FIELD, "subject: a relative name has no attribute (RFC 5280 4.1.2.4)"))
    refuse(problems)
    return _by_fields(rdns) or _literal(rdns)


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


def _attribute(pair: bytes) -> _Attribute:
    """Read one attribute. Raises InvalidInput for a string type that it must not have."""
    encoded, value = der.children(pair)
    oid = x509.ObjectIdentifier(der.dotted(encoded))
    label, allowed = named(oid), _STRINGS_OF.get(oid, _USUAL_STRINGS)
    if value[0] not in allowed:
        wanted = " or ".join(sorted(_STRINGS[each] for each in allowed))
        kind = _STRINGS.get(value[0], f"value of type {value[0]}")
        raise InvalidInput(FIELD, f"{label} is a {kind}; write it as a {wanted} (RFC 5280 4.1.2.4)")
    try:
        text = der.content(value).decode("utf-8" if value[0] == der.UTF8_STRING else "ascii")
    except UnicodeDecodeError:
        raise InvalidInput(FIELD, f"{label} is not valid text") from None
    if not text:
        raise InvalidInput(FIELD, f"{label} is empty; leave it out")
    return _Attribute(oid, text, value)


def _by_fields(rdns: list[list[_Attribute]]) -> SubjectSaid | None:
    """Say a subject by the fields of a spec; None where it has more than they do."""
    values: dict[str, list[str]] = {}
    for rdn in rdns:
        field = SUBJECT_FIELDS.get(rdn[0].oid)
        if field is None or len(rdn) > 1:
            return None
        values.setdefault(field, []).append(rdn[0].text)
    if any(len(found) > _MOST_OF.get(field, _MOST_OF_AN_ATTRIBUTE) for field, found in values.items()):
        return None
    common_names, serials = values.pop("common_name", [None]), values.pop("serial_number", [None])
    lists = {field: tuple(found) for field, found in values.items()}
    return SubjectSaid(Subject(serial_number=serials[0], **lists), common_names[0])


def _literal(rdns: list[list[_Attribute]]) -> SubjectSaid:
    """Say a subject as a literalSubject (RFC 4514), its values in DER: nothing has to be escaped."""
    literal = ",".join(
        "+".join(f"{each.oid.dotted_string}=#{each.encoded.hex()}" for each in rdn) for rdn in reversed(rdns)
    )
    try:
        read = parse_literal_subject(literal)
    except InvalidInput as error:
        raise InvalidInput(FIELD, f"subject: {error.message}") from None
    # What the Policy judges is what is certified: nothing of it may go astray between the two ways to write it.
    said = [{(each.oid, each.text) for each in rdn} for rdn in rdns]
    if [{(attribute.oid, str(attribute.value)) for attribute in rdn} for rdn in read.rdns] != said:
        raise InvalidInput(FIELD, "subject: cannot be written as a literalSubject")
    return SubjectSaid(literal=literal)


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
