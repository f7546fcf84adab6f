"""Names that a certificate carries: subject, other names and name constraints, as cert-manager's v1 API has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clm.resources.reading import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Attributes of the subject besides commonName (RFC 5280 4.1.2.6)."""

    organizations: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    organizational_units: tuple[str, ...] = ()
    localities: tuple[str, ...] = ()
    provinces: tuple[str, ...] = ()
    street_addresses: tuple[str, ...] = ()
    postal_codes: tuple[str, ...] = ()
    serial_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherName:
    """An otherName whose value is a UTF8String (RFC 5280 4.2.1.6). `oid` is in dotted form."""

    oid: str
    utf8_value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConstraintItem:
    """Subtrees of one side of a NameConstraints extension; `ip_ranges` are CIDRs."""

    dns_domains: tuple[str, ...] = ()
    ip_ranges: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    uri_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConstraints:
    """What names a CA's certificates may carry (RFC 5280 4.2.1.10). At least one side is there.

    Critical, as the RFC has it, unless somebody asks for the contrary: where cert-manager has it the other way round.
    """

    critical: bool = True
    permitted: NameConstraintItem | None = None
    excluded: NameConstraintItem | None = None


def read_subject(reader: Reader) -> Subject:
    """Read `spec.subject`."""
    return Subject(
        organizations=reader.texts("organizations"),
        countries=reader.texts("countries"),
        organizational_units=reader.texts("organizationalUnits"),
        localities=reader.texts("localities"),
        provinces=reader.texts("provinces"),
        street_addresses=reader.texts("streetAddresses"),
        postal_codes=reader.texts("postalCodes"),
        serial_number=reader.text("serialNumber"),
    )


def read_other_names(readers: list[Reader]) -> tuple[OtherName, ...]:
    """Read `spec.otherNames`; both fields are required."""
    return tuple(
        OtherName(oid=reader.required_text("oid"), utf8_value=reader.required_text("utf8Value")) for reader in readers
    )


def read_name_constraints(parent: Reader) -> NameConstraints | None:
    """Read `spec.nameConstraints`; None when it is absent or constrains nothing."""
    if not parent.value("nameConstraints"):
        return None
    reader = parent.child("nameConstraints")
    constraints = NameConstraints(
        critical=reader.flag("critical", default=True),
        permitted=_item(reader, "permitted"),
        excluded=_item(reader, "excluded"),
    )
    if constraints.permitted is None and constraints.excluded is None:
        parent.problem("nameConstraints", "must have permitted or excluded")
    return constraints


def _item(parent: Reader, name: str) -> NameConstraintItem | None:
    reader = parent.child(name)
    item = NameConstraintItem(
        dns_domains=reader.texts("dnsDomains"),
        ip_ranges=reader.texts("ipRanges"),
        email_addresses=reader.texts("emailAddresses"),
        uri_domains=reader.texts("uriDomains"),
    )
    return item if item != NameConstraintItem() else None
