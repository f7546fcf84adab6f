"""What must fit together in one Certificate: named pure checks, each says which field to change.

The API server refuses most of these by the same rules in the CRD. They are here too, because objects outlive
the CRD that admitted them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clm.resources.certificate import CertificateSpec

Problem = tuple[str, str]

MIN_DURATION = timedelta(hours=1)
MIN_RENEW_BEFORE = timedelta(minutes=5)
OWN_DOMAIN = "clm-operator.io"
"""Labels and annotations of this domain and its subdomains are CLM's own."""


def contradictions(spec: CertificateSpec) -> Iterator[Problem]:
    """Iterate over everything that does not fit together, as (field, message)."""
    for check in _CHECKS:
        yield from check(spec)


def _names_something(spec: CertificateSpec) -> Iterator[Problem]:
    names = (spec.common_name, spec.dns_names, spec.ip_addresses, spec.uris, spec.email_addresses, spec.other_names)
    subject = spec.subject
    attributes = (
        subject.organizations,
        subject.countries,
        subject.organizational_units,
        subject.localities,
        subject.provinces,
        subject.street_addresses,
        subject.postal_codes,
        subject.serial_number,
    )
    if not any(names) and not any(attributes):
        yield (
            "spec",
            "must have a commonName, a subject, or one of dnsNames, ipAddresses, uris, emailAddresses, otherNames",
        )


def _lasts_long_enough(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.duration < MIN_DURATION:
        yield "spec.duration", "must be at least 1h"


def _is_renewed_once_within_its_life(spec: CertificateSpec) -> Iterator[Problem]:
    before = spec.renew_before
    if before is None:
        return
    if spec.renew_before_percentage is not None:
        yield "spec.renewBeforePercentage", "excludes renewBefore; set one of them"
    if before < MIN_RENEW_BEFORE:
        yield "spec.renewBefore", "must be at least 5m"
    if before >= spec.duration:
        yield "spec.renewBefore", "must be less than duration"


def _constrains_only_as_ca(spec: CertificateSpec) -> Iterator[Problem]:
    """RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.10: these are for CA certificates only."""
    if spec.is_ca:
        return
    if spec.max_path_length is not None:
        yield "spec.maxPathLen", "needs isCA: true"
    if spec.name_constraints is not None:
        yield "spec.nameConstraints", "needs isCA: true"
    if "cert sign" in spec.usages:
        yield "spec.usages", '"cert sign" needs isCA: true'


def _keeps_only_ca_keys_in_the_hsm(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.private_key.storage == "HSM" and not spec.is_ca:
        yield "spec.privateKey.storage", "HSM is for CAs; it needs isCA: true"


def _leaves_own_metadata_alone(spec: CertificateSpec) -> Iterator[Problem]:
    for field, keys in (("labels", spec.secret_labels), ("annotations", spec.secret_annotations)):
        for key in keys:
            domain, slash, _ = key.partition("/")
            if slash and (domain == OWN_DOMAIN or domain.endswith("." + OWN_DOMAIN)):
                yield f"spec.secretTemplate.{field}", f'"{key}" is set by CLM alone'


_CHECKS: tuple[Callable[[CertificateSpec], Iterable[Problem]], ...] = (
    _names_something,
    _lasts_long_enough,
    _is_renewed_once_within_its_life,
    _constrains_only_as_ca,
    _keeps_only_ca_keys_in_the_hsm,
    _leaves_own_metadata_alone,
)
