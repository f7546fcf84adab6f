"""The spec of a Policy: which CA issues, for whom, and what its certificates may be.

What is allowed and constrained means what it means in cert-manager's CertificateRequestPolicy: an attribute
that is absent from `allowed` is not allowed at all, one that is absent from `constraints` is not constrained.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clm.resources.policies.allowed import (
    Allowed,
    AllowedAddresses,
    AllowedAttribute,
    AllowedOtherName,
    AllowedSubject,
    AllowedValues,
    read_allowed,
)
from clm.resources.policies.constraints import Constraints, read_constraints
from clm.resources.policies.issuer import CaIssuer, SelfSigned, read_issuer
from clm.resources.policies.namespaces import NamespaceSelector, read_namespaces
from clm.resources.reading import Reader, Report
from clm.resources.trust_bundle import TrustBundle, read_trust_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Allowed",
    "AllowedAddresses",
    "AllowedAttribute",
    "AllowedOtherName",
    "AllowedSubject",
    "AllowedValues",
    "CaIssuer",
    "Constraints",
    "NamespaceSelector",
    "PolicySpec",
    "SelfSigned",
    "parse_policy",
]

_ENFORCE = "Enforce"


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
        issuer=read_issuer(reader.child("issuer")),
        organization=organization,
        namespaces=read_namespaces(reader),
        allowed=read_allowed(reader.child("allowed")),
        constraints=read_constraints(reader.child("constraints")),
        trust_bundle=read_trust_bundle(reader),
        issuances_per_hour=reader.child("quota").integer("issuancesPerHour"),
        unsupported=report.unread() + (("spec.organization",) if organization else ()),
    )
    if parsed.trust_bundle is not None and not isinstance(parsed.issuer, CaIssuer):
        reader.problem("trustBundle", "needs issuer.ca: a Policy for roots has no CA whose roots could be published")
    report.check()
    return parsed
