"""Decides whether a Policy lets a Certificate be issued, and says everything that is in the way.

Semantics are those of cert-manager's approver-policy: an attribute that is absent from `allowed` may not be used at
all, one that is absent from `constraints` is not bounded.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.pki.text import quoted
from clm.pki.usages import canonical
from clm.policy.subjects import common_name_violations, subject_violations
from clm.policy.violations import Violation, not_allowed, values_are_allowed
from clm.policy.wildcard import matches_any
from clm.resources.duration import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clm.resources.certificate import CertificateSpec
    from clm.resources.policy import PolicySpec
    from clm.resources.requester import Requester


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A Certificate as a Policy sees it. `requester` is who wrote its spec; None where nothing tells."""

    spec: CertificateSpec
    namespace: str
    namespace_labels: Mapping[str, str]
    requester: Requester | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Every violation, in the order of the checks; none when the Certificate may be issued."""

    violations: tuple[Violation, ...]

    @property
    def allowed(self) -> bool:
        """Whether the Certificate may be issued."""
        return not self.violations


def evaluate(request: Request, policy: PolicySpec) -> Decision:
    """Run every check."""
    return Decision(tuple(violation for check in CHECKS for violation in check(request, policy)))


def namespace_is_selected(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """The Policy may be used in this namespace."""
    selector = policy.namespaces
    if selector is None:
        return
    by_name = not selector.match_names or matches_any(selector.match_names, request.namespace)
    by_labels = selector.match_labels.items() <= request.namespace_labels.items()
    if not (by_name and by_labels):
        yield Violation(
            "metadata.namespace",
            "namespaces",
            f"namespace {quoted(request.namespace)} may not use this Policy (spec.namespaces)",
        )


def names_are_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Common name, DNS names, URIs and e-mail addresses fit allowed values."""
    spec, allowed = request.spec, policy.allowed
    yield from common_name_violations(spec, allowed.common_name)
    for field, values, patterns in (
        ("dnsNames", spec.dns_names, allowed.dns_names),
        ("uris", spec.uris, allowed.uris),
        ("emailAddresses", spec.email_addresses, allowed.email_addresses),
    ):
        yield from values_are_allowed(f"spec.{field}", f"allowed.{field}", values, patterns)


def addresses_are_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Every IP address lies in an allowed network."""
    allowed, addresses = policy.allowed.ip_addresses, request.spec.ip_addresses
    if allowed is not None and allowed.required and not addresses:
        yield Violation("spec.ipAddresses", "allowed.ipAddresses", "spec.ipAddresses: at least one is required")
    if not addresses:
        return
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in allowed.cidrs] if allowed is not None else []
    for index, text in enumerate(addresses):
        if not any(_within(text, network) for network in networks):
            yield not_allowed(
                f"spec.ipAddresses[{index}]", "allowed.ipAddresses", text, allowed.cidrs if allowed else ()
            )


def other_names_are_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Every otherName has an allowed type and value, and required types are there."""
    present = {other.oid for other in request.spec.other_names}
    for allowed in policy.allowed.other_names:
        if allowed.required and allowed.oid not in present:
            yield Violation(
                "spec.otherNames", "allowed.otherNames", f"spec.otherNames: one of type {allowed.oid} is required"
            )
    by_oid: dict[str, tuple[str, ...]] = {}
    for allowed in policy.allowed.other_names:
        by_oid[allowed.oid] = by_oid.get(allowed.oid, ()) + allowed.values
    for index, other in enumerate(request.spec.other_names):
        if not matches_any(by_oid.get(other.oid, ()), other.utf8_value):
            yield not_allowed(
                f"spec.otherNames[{index}]",
                "allowed.otherNames",
                f"{other.oid}={other.utf8_value}",
                by_oid.get(other.oid, ()),
            )


def subject_is_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Every subject attribute fits allowed values."""
    yield from subject_violations(request.spec, policy.allowed.subject)


def usages_are_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Every usage, those that stand by default included, is among the allowed ones, by either of its names."""
    allowed = policy.allowed.usages or ()
    bits = set(map(canonical, allowed))
    for usage in request.spec.usages:
        if canonical(usage) not in bits:
            yield not_allowed("spec.usages", "allowed.usages", usage, allowed)


def ca_is_allowed(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Only a Policy that says so lets CAs be made."""
    if request.spec.is_ca and not policy.allowed.is_ca:
        yield Violation("spec.isCA", "allowed.isCA", "spec.isCA: this Policy allows no CAs (spec.allowed.isCA)")


def duration_is_within_bounds(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """The lifetime that is asked for lies within the Policy's bounds."""
    duration, bounds = request.spec.duration, policy.constraints
    asked = format_duration(duration)
    if bounds.min_duration is not None and duration < bounds.min_duration:
        least = format_duration(bounds.min_duration)
        yield Violation(
            "spec.duration", "constraints.minDuration", f"spec.duration: {asked} is too short; ask for {least} or more"
        )
    if bounds.max_duration is not None and duration > bounds.max_duration:
        most = format_duration(bounds.max_duration)
        yield Violation(
            "spec.duration", "constraints.maxDuration", f"spec.duration: {asked} is too long; ask for {most} or less"
        )


def private_key_is_within_bounds(request: Request, policy: PolicySpec) -> Iterator[Violation]:
    """Algorithm, size and rotation of the key are as the Policy wants them, also of one that comes with a request."""
    key, bounds = request.spec.private_key.key, policy.constraints
    brought = request.spec.request is not None
    algorithm, size = _key_fields(brought=brought)
    if bounds.algorithms is not None and key.algorithm not in bounds.algorithms:
        yield not_allowed(algorithm, "constraints.privateKey.algorithms", key.algorithm, bounds.algorithms)
    least, most = bounds.min_size.get(key.algorithm), bounds.max_size.get(key.algorithm)
    if least is not None and key.size < least:
        yield Violation(
            size,
            "constraints.privateKey.minSize",
            f"{size}: {key.size} is too small; {key.algorithm} keys need {least} bits or more",
        )
    if most is not None and key.size > most:
        yield Violation(
            size,
            "constraints.privateKey.maxSize",
            f"{size}: {key.size} is too large; {key.algorithm} keys may have {most} bits at most",
        )
    wanted = bounds.rotation_policy
    if wanted is None or request.spec.private_key.rotation_policy == wanted:
        return
    rule = "constraints.privateKey.rotationPolicy"
    if brought:
        yield Violation(
            "spec.request",
            rule,
            "spec.request: this Policy wants a new key with every certificate, and a brought key stays as it is;"
            f" leave out the request, so that CLM makes the keys, or use a Policy without spec.{rule}: Always",
        )
    else:
        field = "spec.privateKey.rotationPolicy"
        yield Violation(field, rule, f"{field}: must be {wanted}")


CHECKS = (
    namespace_is_selected,
    names_are_allowed,
    addresses_are_allowed,
    other_names_are_allowed,
    subject_is_allowed,
    usages_are_allowed,
    ca_is_allowed,
    duration_is_within_bounds,
    private_key_is_within_bounds,
)


def _key_fields(*, brought: bool) -> tuple[str, str]:
    """Where a key's algorithm and size are said."""
    return ("spec.request",) * 2 if brought else ("spec.privateKey.algorithm", "spec.privateKey.size")


def _within(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # ::ffff:10.0.0.1 is 10.0.0.1 to whoever connects: it must not slip past an IPv4 rule, nor through an IPv6 one.
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address) in network
