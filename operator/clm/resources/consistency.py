"""What must fit together in one Certificate: named pure checks, each says which field to change.

The API server refuses most of these by the same rules in the CRD. They are here too, because objects outlive
the CRD that admitted them.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.resources.keys import SIZES_IN_HSM
from clm.resources.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from clm.resources.certificate import CertificateSpec

Problem = tuple[str, str]

MIN_DURATION = timedelta(hours=1)
MIN_RENEW_BEFORE = timedelta(minutes=5)
OWN_DOMAIN = "clm-operator.io"
"""Labels and annotations of this domain and its subdomains are CLM's own."""
ANNOTATIONS_LIMIT = 128 * 1024
"""Bytes of all annotations of a template. Kubernetes takes 256 KiB on an object, and CLM's own are among them."""

# What Kubernetes takes for the keys of labels and annotations (IsQualifiedName), and for the values of labels.
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_PREFIX_MOST, _NAME_MOST = 253, 63
_KEY_RULE = "it has to be a name of up to 63 letters, digits, '-', '_' and '.', perhaps behind a domain and a slash"
_SHOWN = 80


def contradictions(spec: CertificateSpec) -> Iterator[Problem]:
    """Iterate over everything that does not fit together, as (field, message)."""
    for check in _CHECKS:
        yield from check(spec)


def _names_something(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.request is not None and spec.signing_request is None:
        return  # it has not been read yet
    names = (
        spec.common_name,
        spec.literal_subject,
        spec.dns_names,
        spec.ip_addresses,
        spec.uris,
        spec.email_addresses,
        spec.other_names,
    )
    if not any(names) and spec.subject == Subject():
        yield (
            "spec" if spec.request is None else "spec.request",
            "must have a commonName, a subject, or one of dnsNames, ipAddresses, uris, emailAddresses, otherNames",
        )


def _has_one_subject(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.literal_subject is not None and (spec.common_name is not None or spec.subject != Subject()):
        yield "spec.literalSubject", "excludes subject and commonName"


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


def _is_revoked_as_what_it_is(spec: CertificateSpec) -> Iterator[Problem]:
    """RFC 5280 5.3.1: cACompromise is said of a CA's key."""
    if spec.revocation == "cACompromise" and not spec.is_ca:
        yield "spec.revocation.reason", "cACompromise is said of a CA; of another certificate it is keyCompromise"


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


def _publishes_only_as_ca(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.authority is None:
        return
    if not spec.is_ca:
        yield "spec.authority", "needs isCA: true"
    elif spec.private_key.storage != "HSM":
        yield "spec.authority", "needs privateKey.storage HSM: CLM signs CRLs with keys in the token only"


def _keeps_only_ca_keys_in_the_hsm(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.private_key.storage != "HSM":
        return
    if not spec.is_ca:
        yield "spec.privateKey.storage", "HSM is for CAs; it needs isCA: true"
    key = spec.private_key.key
    if key.size not in SIZES_IN_HSM[key.algorithm]:
        listed = ", ".join(map(str, SIZES_IN_HSM[key.algorithm]))
        yield "spec.privateKey.size", f"{key.algorithm} keys in the HSM have {listed} bits, not {key.size}"


def _has_the_key_that_its_files_need(spec: CertificateSpec) -> Iterator[Problem]:
    if spec.private_key.storage != "HSM":
        return
    if spec.output_formats:
        yield "spec.additionalOutputFormats", "needs the private key, which does not leave the HSM"
    for keystore in spec.keystores:
        yield keystore.path, "needs the private key, which does not leave the HSM"


def _keeps_passwords_elsewhere(spec: CertificateSpec) -> Iterator[Problem]:
    for keystore in spec.keystores:
        if keystore.password_ref is not None and keystore.password_ref.name == spec.secret_name:
            yield (
                f"{keystore.path}.passwordSecretRef.name",
                f"{spec.secret_name} is spec.secretName, the Secret that is written; keep the password in another",
            )


def _leaves_own_metadata_alone(spec: CertificateSpec) -> Iterator[Problem]:
    for field, keys in _template(spec):
        for key in keys:
            domain, slash, _ = key.lower().partition("/")
            if slash and (domain == OWN_DOMAIN or domain.endswith("." + OWN_DOMAIN)):
                yield f"spec.secretTemplate.{field}", f"{_shown(key)} is set by CLM alone"


def _has_metadata_that_kubernetes_takes(spec: CertificateSpec) -> Iterator[Problem]:
    """A Secret with any other is refused by the API server, when the certificate for it is signed already."""
    for field, entries in _template(spec):
        for key in entries:
            # Annotations are held against the rule in lower case, labels as they are.
            if not is_qualified_name(key.lower() if field == "annotations" else key):
                yield (
                    f"spec.secretTemplate.{field}",
                    f"{_shown(key)} is no key: {_KEY_RULE}",
                )
    for key, value in spec.secret_labels.items():
        if value and not (len(value) <= _NAME_MOST and _NAME.match(value)):
            yield (
                f"spec.secretTemplate.labels.{key}",
                f"{_shown(value)} is no value of a label: it has to be up to 63 letters, digits, '-', '_' and '.'",
            )
    size = sum(len(text.encode("utf-8", "replace")) for pair in spec.secret_annotations.items() for text in pair)
    if size > ANNOTATIONS_LIMIT:
        yield (
            "spec.secretTemplate.annotations",
            f"must not have more than {ANNOTATIONS_LIMIT} bytes, keys and values together; these are {size}",
        )


def is_qualified_name(key: str) -> bool:
    """Tell whether Kubernetes takes this as the key of a label: a name, perhaps behind a DNS domain and a slash."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= _PREFIX_MOST and _PREFIX.match(prefix)):
        return False
    return len(name) <= _NAME_MOST and _NAME.match(name) is not None


def _template(spec: CertificateSpec) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return ("labels", spec.secret_labels), ("annotations", spec.secret_annotations)


def _shown(text: str) -> str:
    """What somebody wrote, as it can stand in a message: escaped, and not longer than a line."""
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


_CHECKS: tuple[Callable[[CertificateSpec], Iterable[Problem]], ...] = (
    _names_something,
    _has_one_subject,
    _lasts_long_enough,
    _is_renewed_once_within_its_life,
    _is_revoked_as_what_it_is,
    _constrains_only_as_ca,
    _publishes_only_as_ca,
    _keeps_only_ca_keys_in_the_hsm,
    _has_the_key_that_its_files_need,
    _keeps_passwords_elsewhere,
    _leaves_own_metadata_alone,
    _has_metadata_that_kubernetes_takes,
)
