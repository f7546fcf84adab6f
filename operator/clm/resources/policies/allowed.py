"""What the certificates of a Policy may hold, attribute by attribute."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clm.resources.reading import Reader


_HAVE_FIELDS = {
    "2.5.4.3": "spec.allowed.commonName",
    "2.5.4.5": "spec.allowed.subject.serialNumber",
    "2.5.4.6": "spec.allowed.subject.countries",
    "2.5.4.7": "spec.allowed.subject.localities",
    "2.5.4.8": "spec.allowed.subject.provinces",
    "2.5.4.9": "spec.allowed.subject.streetAddresses",
    "2.5.4.10": "spec.allowed.subject.organizations",
    "2.5.4.11": "spec.allowed.subject.organizationalUnits",
    "2.5.4.17": "spec.allowed.subject.postalCodes",
}
"""Attributes of a subject that the Policy names, by object identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedValues:
    """Values that an attribute may have; they may hold `*` wildcards. `required`: it must be there."""

    values: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedAddresses:
    """Networks in CIDR form that IP addresses must lie in."""

    cidrs: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedOtherName:
    """Values that the otherNames of one object identifier may have."""

    oid: str
    values: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedAttribute:
    """Values that subject attributes of one object identifier may have, which only `literalSubject` can say."""

    oid: str
    values: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSubject:
    """What each attribute of the subject may be; None: the attribute is not allowed."""

    organizations: AllowedValues | None = None
    countries: AllowedValues | None = None
    organizational_units: AllowedValues | None = None
    localities: AllowedValues | None = None
    provinces: AllowedValues | None = None
    street_addresses: AllowedValues | None = None
    postal_codes: AllowedValues | None = None
    serial_number: AllowedValues | None = None
    other_attributes: tuple[AllowedAttribute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What certificates may hold; None and an empty tuple: not allowed."""

    common_name: AllowedValues | None = None
    dns_names: AllowedValues | None = None
    uris: AllowedValues | None = None
    email_addresses: AllowedValues | None = None
    ip_addresses: AllowedAddresses | None = None
    other_names: tuple[AllowedOtherName, ...] = ()
    subject: AllowedSubject = field(default_factory=AllowedSubject)
    usages: tuple[str, ...] | None = None
    is_ca: bool = False


def read_allowed(reader: Reader) -> Allowed:
    """Read `allowed`; an attribute that is absent is not allowed."""
    subject = reader.child("subject")
    return Allowed(
        common_name=_values(reader, "commonName"),
        dns_names=_values(reader, "dnsNames"),
        uris=_values(reader, "uris"),
        email_addresses=_values(reader, "emailAddresses"),
        ip_addresses=_addresses(reader),
        other_names=tuple(map(_other_name, reader.children("otherNames"))),
        subject=AllowedSubject(
            organizations=_values(subject, "organizations"),
            countries=_values(subject, "countries"),
            organizational_units=_values(subject, "organizationalUnits"),
            localities=_values(subject, "localities"),
            provinces=_values(subject, "provinces"),
            street_addresses=_values(subject, "streetAddresses"),
            postal_codes=_values(subject, "postalCodes"),
            serial_number=_values(subject, "serialNumber"),
            other_attributes=tuple(map(_attribute, subject.children("otherAttributes"))),
        ),
        usages=reader.texts("usages") if reader.peek("usages") is not None else None,
        is_ca=reader.flag("isCA"),
    )


def _values(parent: Reader, name: str) -> AllowedValues | None:
    if parent.value(name) is None:
        return None
    reader = parent.child(name)
    return AllowedValues(values=reader.texts("values"), required=reader.flag("required"))


def _addresses(parent: Reader) -> AllowedAddresses | None:
    if parent.value("ipAddresses") is None:
        return None
    reader = parent.child("ipAddresses")
    cidrs = reader.texts("cidrs")
    for index, cidr in enumerate(cidrs):
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            reader.problem(f"cidrs[{index}]", f'"{cidr}" is not a network such as 10.0.0.0/8 or 2001:db8::/32')
    return AllowedAddresses(cidrs=cidrs, required=reader.flag("required"))


def _other_name(reader: Reader) -> AllowedOtherName:
    return AllowedOtherName(
        oid=reader.required_text("oid"), values=reader.texts("values"), required=reader.flag("required")
    )


def _attribute(reader: Reader) -> AllowedAttribute:
    oid = reader.required_text("oid")
    if oid in _HAVE_FIELDS:
        reader.problem("oid", f"{oid} has a field of its own: {_HAVE_FIELDS[oid]}")
    return AllowedAttribute(oid=oid, values=reader.texts("values"), required=reader.flag("required"))
