"""The spec of a Policy: which CA issues, for whom, and what its certificates may be.

What is allowed and constrained means what it means in cert-manager's CertificateRequestPolicy: an attribute
that is absent from `allowed` is not allowed at all, one that is absent from `constraints` is not constrained.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clm.resources.reading import Reader, Report
from clm.resources.trust_bundle import TrustBundle, read_trust_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from clm.resources.keys import KeyAlgorithm

_ALGORITHMS: tuple[KeyAlgorithm, ...] = ("RSA", "ECDSA", "Ed25519")
_ENFORCE = "Enforce"
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
class CaIssuer:
    """The Certificate, a CA with its key in the HSM, that issues."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """Every certificate is signed with its own key: for roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSelector:
    """Namespaces that may refer to the Policy: those with all the labels, if any, and one of the names, if any.

    Names may hold `*` wildcards.
    """

    match_labels: Mapping[str, str]
    match_names: tuple[str, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Bounds on lifetime and key; None and a missing algorithm: unbounded. Sizes are in bits."""

    min_duration: timedelta | None = None
    max_duration: timedelta | None = None
    algorithms: tuple[KeyAlgorithm, ...] | None = None
    min_size: Mapping[KeyAlgorithm, int] = field(default_factory=dict)
    max_size: Mapping[KeyAlgorithm, int] = field(default_factory=dict)
    rotation_policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """What a Policy says. `unsupported` lists fields that are set and not enforced by this version."""

    issuer: CaIssuer | SelfSigned
    organization: str | None = None
    namespaces: NamespaceSelector | None = None
    allowed: Allowed = field(default_factory=Allowed)
    constraints: Constraints = field(default_factory=Constraints)
    trust_bundle: TrustBundle | None = None
    issuances_per_hour: int | None = None
    unsupported: tuple[str, ...] = ()


def parse_policy(spec: Mapping[str, Any]) -> PolicySpec:
    """Read the spec of a Policy. Raises one InvalidInput that tells everything that is wrong with it."""
    report = Report()
    reader = Reader(spec, path="spec", report=report, presence=("approval",))
    reader.skip("enforcement", when=reader.peek("enforcement") == _ENFORCE)
    organization = reader.text("organization")
    parsed = PolicySpec(
        issuer=_issuer(reader.child("issuer")),
        organization=organization,
        namespaces=_namespaces(reader),
        allowed=_allowed(reader.child("allowed")),
        constraints=_constraints(reader.child("constraints")),
        trust_bundle=read_trust_bundle(reader),
        issuances_per_hour=reader.child("quota").integer("issuancesPerHour"),
        unsupported=report.unread() + (("spec.organization",) if organization else ()),
    )
    if parsed.trust_bundle is not None and not isinstance(parsed.issuer, CaIssuer):
        reader.problem("trustBundle", "needs issuer.ca: a Policy for roots has no CA whose roots could be published")
    report.check()
    return parsed


def _issuer(reader: Reader) -> CaIssuer | SelfSigned:
    ca, self_signed = reader.value("ca"), reader.value("selfSigned")
    if (ca is None) == (self_signed is None):
        reader.problem("ca", "set exactly one of ca and selfSigned")
        return SelfSigned()
    if ca is None:
        reader.child("selfSigned")
        return SelfSigned()
    child = reader.child("ca")
    return CaIssuer(namespace=child.required_text("namespace"), name=child.required_text("name"))


def _namespaces(parent: Reader) -> NamespaceSelector | None:
    """Absent and without either member it selects every namespace; a member that is there selects by something."""
    reader = parent.child("namespaces")
    reader.refuse_empty("matchLabels", "matchNames")
    selector = NamespaceSelector(match_labels=reader.text_map("matchLabels"), match_names=reader.texts("matchNames"))
    return selector if selector.match_labels or selector.match_names else None


def _allowed(reader: Reader) -> Allowed:
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


def _constraints(reader: Reader) -> Constraints:
    key = reader.child("privateKey")
    reader.refuse_empty("minDuration", "maxDuration")
    shortest, longest = reader.duration("minDuration"), reader.duration("maxDuration")
    if shortest is not None and longest is not None and shortest > longest:
        reader.problem("minDuration", "must not be more than maxDuration")
    return Constraints(
        min_duration=shortest,
        max_duration=longest,
        algorithms=_algorithms(key),
        min_size=_sizes(key.child("minSize")),
        max_size=_sizes(key.child("maxSize")),
        rotation_policy=key.choice("rotationPolicy", ("", "Always", "Never"), default="") or None,
    )


def _algorithms(reader: Reader) -> tuple[KeyAlgorithm, ...] | None:
    reader.refuse_empty("algorithms")
    named = reader.texts("algorithms")
    for index, name in enumerate(named):
        if name not in _ALGORITHMS:
            reader.problem(f"algorithms[{index}]", f'"{name}" is not one of ' + ", ".join(_ALGORITHMS))
    return tuple(algorithm for algorithm in _ALGORITHMS if algorithm in named) or None


def _sizes(reader: Reader) -> dict[KeyAlgorithm, int]:
    sizes = {algorithm: reader.integer(algorithm, minimum=1) for algorithm in _ALGORITHMS}
    return {algorithm: size for algorithm, size in sizes.items() if size is not None}
