"""Profile checks on every CRL, before it is signed: RFC 5280 5, and section 7.2 of the Baseline Requirements.

As with certificates, each check reads the list as it was built: what it finds is a defect of CLM, or a clock that went
astray, and nothing to be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from clm.pki.crl import CrlDraft, CrlPlan

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_MAX_NUMBER_BITS = 159
_LONGEST = timedelta(days=366)
_AHEAD = timedelta(minutes=5)
"""How far thisUpdate may be in the future by the clock of whoever looks."""

_KNOWN = {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid, x509.IssuingDistributionPoint.oid}


@dataclass(frozen=True, slots=True)
class _View:
    crl: x509.CertificateRevocationList
    plan: CrlPlan
    previous: int | None
    now: datetime
    count: int
    extensions: dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]

    def value(self, kind: type[_Value]) -> _Value | None:
        found = self.extensions.get(kind)
        return found.value if found is not None and isinstance(found.value, kind) else None


def lint_crl(draft: CrlDraft, plan: CrlPlan, *, previous: int | None, now: datetime) -> tuple[str, ...]:
    """Check a draft against what it should be; `previous` is the number of the CRL that it replaces.

    Returns the findings, each with the section that it breaks; none when it may be signed. Goes over every entry:
    about two seconds a million.
    """
    try:
        extensions = {type(extension.value): extension for extension in draft.unsigned.extensions}
    except (x509.DuplicateExtension, ValueError) as error:
        return (f"extensions cannot be read: {error} (RFC 5280 5.2)",)
    view = _View(draft.unsigned, plan, previous, now, draft.count, extensions)
    return tuple(finding for check in CHECKS for finding in check(view))


def _issuer(view: _View) -> Iterator[str]:
    """The issuer is named as in its own certificate."""
    if not view.crl.issuer.rdns or view.crl.issuer != view.plan.issuer.subject:
        yield "the issuer is not named as in its certificate (RFC 5280 5.1.2.3)"


def _times(view: _View) -> Iterator[str]:
    """The list is of now, and says when the next one comes."""
    begin, end = view.crl.last_update_utc, view.crl.next_update_utc
    if begin > view.now + _AHEAD:
        yield "thisUpdate is in the future (RFC 5280 5.1.2.4)"
    if end is None or end <= begin:
        yield "nextUpdate is missing, or not after thisUpdate (RFC 5280 5.1.2.5)"
    elif end - begin > _LONGEST:
        yield "nextUpdate is more than twelve months away (Baseline Requirements 4.9.7)"


def _authority(view: _View) -> Iterator[str]:
    """The authority key identifier is the issuer's."""
    found = view.value(x509.AuthorityKeyIdentifier)
    if found is None:
        yield "authorityKeyIdentifier is missing (RFC 5280 5.2.1)"
    elif found.key_identifier != view.plan.issuer.key_identifier.digest:
        yield "authorityKeyIdentifier is not the issuer's (RFC 5280 5.2.1)"


def _number(view: _View) -> Iterator[str]:
    """The number is higher than the last one's, and fits 20 octets."""
    found = view.value(x509.CRLNumber)
    if found is None:
        yield "cRLNumber is missing (RFC 5280 5.2.3)"
        return
    if view.extensions[x509.CRLNumber].critical:
        yield "cRLNumber is critical (RFC 5280 5.2.3)"
    if not 0 < found.crl_number.bit_length() <= _MAX_NUMBER_BITS:
        yield "cRLNumber does not fit 20 octets (RFC 5280 5.2.3)"
    if view.previous is not None and found.crl_number <= view.previous:
        yield f"cRLNumber {found.crl_number} is not above the last one, {view.previous} (RFC 5280 5.2.3)"


def _partition(view: _View) -> Iterator[str]:
    """A partition says which one it is, critically, by the URL in its certificates; the complete list says nothing."""
    found = view.value(x509.IssuingDistributionPoint)
    if view.plan.shards == 1:
        if found is not None:
            yield "issuingDistributionPoint in a complete CRL (RFC 5280 5.2.5)"
        return
    if found is None or not view.extensions[x509.IssuingDistributionPoint].critical:
        yield "issuingDistributionPoint of a partition is missing or not critical (RFC 5280 5.2.5)"
        return
    if not view.plan.urls or tuple(name.value for name in found.full_name or ()) != view.plan.urls:
        yield "issuingDistributionPoint is not the partition's URL (RFC 5280 5.2.5)"
    if found.only_contains_user_certs or found.only_contains_ca_certs or found.only_some_reasons or found.indirect_crl:
        yield "issuingDistributionPoint limits the list to less than its partition (RFC 5280 5.2.5)"


def _others(view: _View) -> Iterator[str]:
    """There is no other extension: not a delta's either."""
    for extension in view.crl.extensions:
        if extension.oid not in _KNOWN:
            yield f"unexpected extension {extension.oid.dotted_string} (Baseline Requirements 7.2.2)"


def _entries(view: _View) -> Iterator[str]:
    """Every certificate once, each of this partition, and as many as were to be listed."""
    plan = view.plan
    serials = [revoked.serial_number for revoked in view.crl]
    if len(serials) != view.count:
        yield f"{len(serials)} entries can be read, {view.count} were put in (RFC 5280 5.1.2.6)"
    if len(set(serials)) != len(serials):
        yield "a certificate is listed twice (RFC 5280 5.1.2.6)"
    if serials and min(serials) <= 0:
        yield "a serial number is not positive (RFC 5280 4.1.2.2)"
    if plan.shards > 1 and any(serial % plan.shards != plan.shard for serial in serials):
        yield f"a certificate is not of partition {plan.shard} of {plan.shards} (RFC 5280 5.2.5)"


CHECKS = (_issuer, _times, _authority, _number, _partition, _others, _entries)
