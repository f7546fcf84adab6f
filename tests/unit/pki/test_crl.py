"""CRLs: built from entries that were written before, to the byte what the library builds of all at once."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from clm.errors import SignatureInvalid
from clm.pki.algorithms import signature_hash
from clm.pki.assemble import assemble, assemble_crl, verify_signature
from clm.pki.crl import REASONS, CrlDraft, CrlPlan, RevokedEntry, build_crl, encode_entries, next_number
from clm.pki.crl_lint import lint_crl
from clm.pki.tbs import ThrowawayKeys
from clm.pki.urls import crl_url
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import NOW, Authority, Keys, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY = timedelta(days=1)
URL = crl_url("http://pki.example.com", uuid.UUID(int=1), shards=4, shard=3)
MOMENTS = st.datetimes(datetime(1951, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
ENTRIES = st.lists(
    st.builds(RevokedEntry, st.integers(1, 2**159 - 1), MOMENTS, st.sampled_from([0, *REASONS]), st.none() | MOMENTS),
    max_size=40,
    unique_by=lambda entry: entry.serial,
)
KINDS = [KeySpec("ECDSA", 256), KeySpec("ECDSA", 384), KeySpec("RSA", 2048), KeySpec("Ed25519", 256)]


def entry(serial: int, reason_code: int = 1, **more: Any) -> RevokedEntry:
    """One revoked certificate."""
    return RevokedEntry(serial, NOW, reason_code, **{"invalidity_date": None, **more})


def plan(authority: Authority, **changes: Any) -> CrlPlan:
    """A complete CRL of today."""
    made = CrlPlan(issuer=authority.issuer, number=next_number(None, NOW), this_update=NOW, next_update=NOW + DAY)
    return dataclasses.replace(made, **changes)


def built(authority: Authority, entries: Sequence[RevokedEntry] = (), **changes: Any) -> tuple[CrlDraft, CrlPlan]:
    """Build a CRL of entries."""
    made = plan(authority, **changes)
    encoded = encode_entries(entries, throwaway=authority.throwaway)
    return build_crl(made, encoded, throwaway=authority.throwaway), made


@pytest.fixture(scope="module")
def root() -> Authority:
    """A CA."""
    return Authority.root(Keys(), ThrowawayKeys())


@settings(deadline=None, max_examples=50)
@given(ENTRIES, st.integers(0, 40))
def test_is_what_the_library_builds_at_once(root: Authority, entries: list[RevokedEntry], cut: int) -> None:
    """Written in two parts, cut and joined: the same bytes, whatever the entries are."""
    encoded = [der for part in (entries[:cut], entries[cut:]) for der in encode_entries(part, throwaway=root.throwaway)]
    made = plan(root)
    draft = build_crl(made, encoded, throwaway=root.throwaway)
    assert root.issuer.subject is not None
    at_once = x509.CertificateRevocationListBuilder(
        root.issuer.subject,
        made.this_update,
        made.next_update,
        list(draft.unsigned.extensions),
        [_as_library(each) for each in entries],
    ).sign(root.key, hashes.SHA256())
    assert draft.tbs == at_once.tbs_certlist_bytes
    assert lint_crl(draft, made, previous=None, now=NOW) == ()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_signed_by_the_issuer(kind: KeySpec) -> None:
    """The exact bytes are signed, and the list verifies under the CA's public key, with every kind of key."""
    authority = Authority.root(Keys(), ThrowawayKeys(), spec=kind)
    draft, made = built(authority, [entry(7), entry(8)])
    signature = sign(authority.key, kind, draft.tbs)
    verify_signature(draft.tbs, signature, public_key=authority.issuer.public_key, hash_name=signature_hash(kind))
    crl = x509.load_der_x509_crl(assemble_crl(draft.tbs, signature, spec=kind))
    assert crl.is_signature_valid(authority.issuer.public_key)
    assert [revoked.serial_number for revoked in crl] == [7, 8]
    assert lint_crl(draft, made, previous=None, now=NOW) == ()


def test_what_an_entry_says(root: Authority) -> None:
    """The reason is left out where there is none to give, also where a row has one that nobody offers."""
    known = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    in_utc = datetime(2026, 1, 2, 1, 4, 5)  # noqa: DTZ001 - as the library gives it
    draft, _ = built(root, [entry(1, 0), entry(2, 4), entry(3, 6), entry(4, 9, invalidity_date=known)])
    said = {revoked.serial_number: [each.value for each in revoked.extensions] for revoked in draft.unsigned}
    assert said == {
        1: [],
        2: [x509.CRLReason(x509.ReasonFlags.superseded)],
        3: [],
        4: [x509.CRLReason(x509.ReasonFlags.privilege_withdrawn), x509.InvalidityDate(in_utc)],
    }
    assert not any(each.critical for revoked in draft.unsigned for each in revoked.extensions)


def test_extensions(root: Authority) -> None:
    """Authority key identifier and number in each; a partition says critically which one it is."""
    complete, _ = built(root)
    partition, made = built(root, [entry(7)], shards=4, shard=3, urls=(URL,))
    assert [(type(each.value).__name__, each.critical) for each in complete.unsigned.extensions] == [
        ("AuthorityKeyIdentifier", False), ("CRLNumber", False),
    ]  # fmt: skip
    point = partition.unsigned.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    assert [name.value for name in point.value.full_name or ()] == [URL]
    assert lint_crl(partition, made, previous=None, now=NOW) == ()


@given(st.none() | st.integers(1, 2**62), MOMENTS.filter(lambda moment: moment.year >= 1970))
def test_numbers_rise(previous: int | None, moment: datetime) -> None:
    """Always above the last one, and never behind the time: a database from yesterday does not go back."""
    number = next_number(previous, moment)
    assert number > (previous or -1)
    assert number >= (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_crl_is_no_certificate(root: Authority) -> None:
    """The two are not taken for each other when the signature is put on."""
    draft, _ = built(root)
    with pytest.raises((SignatureInvalid, IndexError)):
        assemble(draft.tbs, b"x", spec=root.issuer.spec)


def _other_issuer(authority: Authority) -> tuple[CrlDraft, CrlPlan]:
    draft, made = built(authority)
    other = dataclasses.replace(authority.issuer, subject=x509.Name([]))
    return draft, dataclasses.replace(made, issuer=other)


def _other_key(authority: Authority) -> tuple[CrlDraft, CrlPlan]:
    draft, made = built(authority)
    other = dataclasses.replace(authority.issuer, key_identifier=x509.SubjectKeyIdentifier(b"other"))
    return draft, dataclasses.replace(made, issuer=other)


def _fewer(authority: Authority) -> tuple[CrlDraft, CrlPlan]:
    draft, made = built(authority, [entry(1)])
    return dataclasses.replace(draft, count=2), made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_other_issuer, "named as in its certificate"),
        (_other_key, "authorityKeyIdentifier is not the issuer's"),
        (_fewer, "1 entries can be read, 2 were put in"),
        (lambda ca: built(ca, [entry(1), entry(1)]), "listed twice"),
        (lambda ca: built(ca, this_update=NOW + DAY, next_update=NOW + 2 * DAY), "thisUpdate is in the future"),
        (lambda ca: built(ca, next_update=NOW + 400 * DAY), "more than twelve months"),
        (lambda ca: built(ca, number=5), "is not above the last one, 5"),
        (lambda ca: built(ca, number=4), "is not above the last one, 5"),
        (lambda ca: built(ca, number=2**159), "does not fit 20 octets"),
        (lambda ca: built(ca, urls=(URL,)), "issuingDistributionPoint in a complete CRL"),
        (lambda ca: built(ca, shards=4, shard=3), "missing or not critical"),
        (lambda ca: built(ca, [entry(6)], shards=4, shard=3, urls=(URL,)), "not of partition 3 of 4"),
    ],
)
def test_lint_finds(root: Authority, make: Callable[[Authority], tuple[CrlDraft, CrlPlan]], said: str) -> None:
    """What must not be published is told, once, with its section."""
    draft, made = make(root)
    (finding,) = lint_crl(draft, made, previous=5, now=NOW)
    assert said in finding
    assert finding.endswith(")")


def _as_library(each: RevokedEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(each.serial, each.revoked_at.replace(microsecond=0))
    if each.reason_code in REASONS:
        builder = builder.add_extension(x509.CRLReason(REASONS[each.reason_code]), critical=False)
    if each.invalidity_date is not None:
        moment = each.invalidity_date.replace(microsecond=0, tzinfo=None)
        builder = builder.add_extension(x509.InvalidityDate(moment), critical=False)
    return builder.build()
