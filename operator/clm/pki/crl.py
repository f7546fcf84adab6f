"""Builds the exact bytes of a CRL that will be signed (RFC 5280 5).

A maintained library writes every part: the list without entries, and the entries, in lists of thousands. An entry is
written once, and kept by whoever builds the next CRL, of which all but a few entries are those of the last one. Only
cutting apart and joining is done here, so that a revocation among 100,000 costs one entry and not 100,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from clm.pki import der
from clm.pki.algorithms import hash_algorithm, signature_hash
from clm.pki.assemble import assemble_crl
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from clm.pki.profile import Issuer
    from clm.pki.tbs import ThrowawayKeys

COMPLETE = (1, 0)
"""Number of partitions, and which of them: the CRL that lists all there is."""

REASONS: dict[int, x509.ReasonFlags] = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}
"""CRLReason by its code (RFC 5280 5.3.1). Unspecified is left out; a hold, and its end, are not offered."""

_EXTENSIONS = 0xA0
_ENTRIES_ARE_WRITTEN_WITH = KeySpec("ECDSA", 256)


class RevokedEntry(NamedTuple):
    """What a CRL says of one certificate."""

    serial: int
    revoked_at: datetime
    reason_code: int
    invalidity_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlPlan:
    """One CRL that is to be made. `urls` are those of its partition; none for the complete one."""

    issuer: Issuer
    number: int
    this_update: datetime
    next_update: datetime
    shards: int = 1
    shard: int = 0
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CrlDraft:
    """The bytes that the real key will sign, and the list as it will be read, without a signature."""

    tbs: bytes = field(repr=False)
    unsigned: x509.CertificateRevocationList
    count: int


def next_number(previous: int | None, now: datetime) -> int:
    """Give the next CRLNumber (RFC 5280 5.2.3): the microseconds since 1970, and always more than the last one.

    So it rises also where the last one was lost with the newest days of a database.
    """
    by_time = int(now.timestamp()) * 1_000_000 + now.microsecond
    return by_time if previous is None else max(previous + 1, by_time)


def encode_entries(entries: Sequence[RevokedEntry], *, throwaway: ThrowawayKeys) -> list[bytes]:
    """Write entries in DER, in their order. A reason that is none of REASONS is left out."""
    if not entries:
        return []
    # The list is what the library makes of it; who signs it does not matter.
    moment = entries[0].revoked_at.replace(microsecond=0)
    builder = x509.CertificateRevocationListBuilder(
        x509.Name([]), moment, moment + timedelta(days=1), [], [_revoked(entry) for entry in entries]
    )
    crl = builder.sign(throwaway.get(_ENTRIES_ARE_WRITTEN_WITH), hashes.SHA256())
    return list(_cut(_field(crl.tbs_certlist_bytes, "revokedCertificates")))


def build_crl(plan: CrlPlan, entries: Iterable[bytes], *, throwaway: ThrowawayKeys) -> CrlDraft:
    """Build a CRL of entries in DER: version 2, with AuthorityKeyIdentifier, CRLNumber, and a partition's URL."""
    issuer = plan.issuer
    if issuer.subject is None:
        raise ValueError("a key without a certificate signs no CRL")
    builder = x509.CertificateRevocationListBuilder(
        issuer.subject,
        plan.this_update,
        plan.next_update,
        [x509.Extension(value.oid, critical, value) for value, critical in _extensions(plan)],
    )
    name = signature_hash(issuer.spec)
    empty = builder.sign(throwaway.get(issuer.spec), hash_algorithm(name) if name else None)  # type: ignore[arg-type]
    listed = list(entries)
    tbs = _with_entries(empty.tbs_certlist_bytes, listed)
    unsigned = x509.load_der_x509_crl(assemble_crl(tbs, b"", spec=issuer.spec))
    return CrlDraft(tbs, unsigned, len(listed))


def _revoked(entry: RevokedEntry) -> x509.RevokedCertificate:
    values: list[x509.ExtensionType] = []
    reason = REASONS.get(entry.reason_code)
    if reason is not None:
        values.append(x509.CRLReason(reason))
    if entry.invalidity_date is not None:
        values.append(x509.InvalidityDate(_naive_utc(entry.invalidity_date)))
    extensions = [x509.Extension(value.oid, False, value) for value in values]
    return x509.RevokedCertificateBuilder(entry.serial, entry.revoked_at.replace(microsecond=0), extensions).build()


def _naive_utc(moment: datetime) -> datetime:
    """Write a time as the library writes it into this extension: without looking at its zone."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None)


def _extensions(plan: CrlPlan) -> Iterator[tuple[x509.ExtensionType, bool]]:
    yield x509.AuthorityKeyIdentifier(plan.issuer.key_identifier.digest, None, None), False
    yield x509.CRLNumber(plan.number), False
    if plan.urls:
        # 5.2.5: critical, and with the very names that the certificates have.
        names = [x509.UniformResourceIdentifier(url) for url in plan.urls]
        yield (
            x509.IssuingDistributionPoint(
                full_name=names,
                relative_name=None,
                only_contains_user_certs=False,
                only_contains_ca_certs=False,
                only_some_reasons=None,
                indirect_crl=False,
                only_contains_attribute_certs=False,
            ),
            True,
        )


def _with_entries(tbs: bytes, entries: list[bytes]) -> bytes:
    """Put revokedCertificates before the extensions; it is left out where there is none (RFC 5280 5.1.2.6)."""
    if not entries:
        return tbs
    at = _position(tbs, "crlExtensions")
    content = tbs[der.header_size(tbs) : at]
    return der.tlv(der.SEQUENCE, b"".join((content, der.tlv(der.SEQUENCE, b"".join(entries)), tbs[at:])))


_FIELDS = ("version", "signature", "issuer", "thisUpdate", "nextUpdate", "revokedCertificates", "crlExtensions")


def _position(tbs: bytes, wanted: str) -> int:
    """Find where a field of a TBSCertList begins (RFC 5280 5.1); without entries the extensions follow nextUpdate."""
    at = der.header_size(tbs)
    for name in _FIELDS:
        if name == wanted or (wanted == "crlExtensions" and tbs[at] == _EXTENSIONS):
            return at
        at = der.end(tbs, at)
    raise ValueError(f"a TBSCertList has no {wanted}")


def _field(tbs: bytes, name: str) -> bytes:
    at = _position(tbs, name)
    return tbs[at : der.end(tbs, at)]


def _cut(sequence: bytes) -> Iterator[bytes]:
    at, end = der.header_size(sequence), len(sequence)
    while at < end:
        following = der.end(sequence, at)
        yield sequence[at:following]
        at = following
