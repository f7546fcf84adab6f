"""A Policy's say on the subject, however the Certificate says it: by its fields, or as one string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from clm.pki.literal_subject import FIELD, attribute_label, parse_literal_subject
from clm.policy.violations import Violation, not_allowed, values_are_allowed
from clm.policy.wildcard import matches_any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from clm.resources.certificate import CertificateSpec
    from clm.resources.policy import AllowedSubject, AllowedValues

    _Literal = dict[x509.ObjectIdentifier, list[str]]

_ATTRIBUTES = (
    ("organizations", "organizations", NameOID.ORGANIZATION_NAME),
    ("countries", "countries", NameOID.COUNTRY_NAME),
    ("organizationalUnits", "organizational_units", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("localities", "localities", NameOID.LOCALITY_NAME),
    ("provinces", "provinces", NameOID.STATE_OR_PROVINCE_NAME),
    ("streetAddresses", "street_addresses", NameOID.STREET_ADDRESS),
    ("postalCodes", "postal_codes", NameOID.POSTAL_CODE),
    ("serialNumber", "serial_number", NameOID.SERIAL_NUMBER),
)
_OTHER_RULE = "allowed.subject.otherAttributes"


def common_name_violations(spec: CertificateSpec, allowed: AllowedValues | None) -> Iterator[Violation]:
    """Iterate over what is wrong with the common name. Raises InvalidInput on a literalSubject that is no name."""
    rule = "allowed.commonName"
    if spec.literal_subject is None:
        values = (spec.common_name,) if spec.common_name else ()
        yield from values_are_allowed("spec.commonName", rule, values, allowed, indexed=False)
    else:
        found = _by_type(spec.literal_subject).get(NameOID.COMMON_NAME, [])
        yield from values_are_allowed(FIELD, rule, found, allowed, indexed=False, what="CN")


def subject_violations(spec: CertificateSpec, allowed: AllowedSubject) -> Iterator[Violation]:
    """Iterate over what is wrong with the other attributes. Raises InvalidInput as `common_name_violations` does."""
    if spec.literal_subject is not None:
        literal = _by_type(spec.literal_subject)
        yield from _literal_violations(literal, allowed)
        yield from _other_violations(literal, allowed)
        return
    for field, attribute, _ in _ATTRIBUTES:
        said = getattr(spec.subject, attribute)
        single = attribute == "serial_number"
        values = ((said,) if said else ()) if single else said
        yield from values_are_allowed(
            f"spec.subject.{field}",
            f"allowed.subject.{field}",
            values,
            getattr(allowed, attribute),
            indexed=not single,
        )
    yield from _other_violations({}, allowed)


def _literal_violations(literal: _Literal, allowed: AllowedSubject) -> Iterator[Violation]:
    for field, attribute, oid in _ATTRIBUTES:
        yield from values_are_allowed(
            FIELD,
            f"allowed.subject.{field}",
            literal.get(oid, []),
            getattr(allowed, attribute),
            indexed=False,
            what=attribute_label(oid),
        )


def _other_violations(literal: _Literal, allowed: AllowedSubject) -> Iterator[Violation]:
    """Attributes that have no field: each is allowed by its object identifier, or not at all."""
    by_oid: dict[str, tuple[str, ...]] = {}
    present = {oid.dotted_string for oid in literal}
    for entry in allowed.other_attributes:
        by_oid[entry.oid] = by_oid.get(entry.oid, ()) + entry.values
        if entry.required and entry.oid not in present:
            yield Violation(FIELD, _OTHER_RULE, f"{FIELD}: an attribute of type {entry.oid} is required")
    have_fields = {NameOID.COMMON_NAME, *(oid for _, _, oid in _ATTRIBUTES)}
    for oid, values in literal.items():
        patterns = by_oid.get(oid.dotted_string, ())
        for value in values if oid not in have_fields else ():
            if not matches_any(patterns, value):
                label = attribute_label(oid)
                what = label if label == oid.dotted_string else f"{label} ({oid.dotted_string})"
                yield not_allowed(FIELD, _OTHER_RULE, value, patterns, what=what)


def _by_type(literal_subject: str) -> _Literal:
    values: _Literal = {}
    for attribute in parse_literal_subject(literal_subject):
        values.setdefault(attribute.oid, []).append(str(attribute.value))
    return values
