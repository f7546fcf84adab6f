"""The plan: from what is asked for and what is recorded to the one next step."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clm.lifecycle.plan import Finish, Issue, Publish, State, plan
from clm.resources.records import Owner, Revision

NOW = datetime(2026, 6, 1, tzinfo=UTC)
UID, OTHER_UID = uuid.UUID(int=1), uuid.UUID(int=2)
KEY, OTHER_KEY = uuid.UUID(int=3), uuid.UUID(int=4)


def revision(**changes: Any) -> Revision:
    """Make an issued, active revision 3, a month old with two to go."""
    values: dict[str, Any] = {
        "id": uuid.UUID(int=9),
        "owner": Owner(uuid.UUID(int=8), UID, "shop", "web"),
        "revision": 3,
        "state": "issued",
        "certificate_state": "active",
        "spec_hash": b"a" * 32,
        "issuer_key_id": KEY,
        "issuer_certificate_id": None,
        "subject_key_id": None,
        "private_key_id": uuid.UUID(int=7),
        "key_algorithm": "ECDSA-256",
        "not_before": NOW - timedelta(days=30),
        "not_after": NOW + timedelta(days=60),
    }
    return Revision(**{**values, **changes})


def state(newest: Revision | None, **changes: Any) -> State:
    """Make a state in which everything is as it should be."""
    values: dict[str, Any] = {
        "now": NOW,
        "resource_uid": UID,
        "spec_hash": b"a" * 32,
        "issuer_key_id": KEY,
        "newest": newest,
        "renewal_due": NOW + timedelta(days=30),
        "renew_requested_at": None,
    }
    return State(**{**values, **changes})


def test_an_object_that_nobody_knows_gets_its_first_revision() -> None:
    """The first certificate."""
    assert plan(state(None)) == Issue("initial", 1, None)


def test_what_stands_is_published_and_not_issued_again() -> None:
    """A lost Secret needs no new certificate."""
    newest = revision()
    assert plan(state(newest)) == Publish(newest, adopted=False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec_hash": b"b" * 32}, "spec-changed"),
        ({"issuer_key_id": OTHER_KEY}, "issuer-changed"),
        ({"renewal_due": NOW}, "renewal"),
        ({"renewal_due": NOW - timedelta(days=1)}, "renewal"),
        ({"renew_requested_at": NOW - timedelta(minutes=1)}, "manual"),
        ({"spec_hash": b"b" * 32, "renewal_due": NOW}, "spec-changed"),
    ],
)
def test_why_a_new_revision_is_made(changes: dict[str, Any], reason: str) -> None:
    """Each cause by itself, and the first in order where there are several."""
    newest = revision()
    assert plan(state(newest, **changes)) == Issue(reason, 4, newest)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [NOW - timedelta(days=31), NOW + timedelta(days=1)])
def test_a_renewal_asked_for_before_the_certificate_or_in_the_future_is_no_reason(asked: datetime) -> None:
    """The annotation stays on the object; it counts once."""
    assert isinstance(plan(state(revision(), renew_requested_at=asked)), Publish)


def test_an_expired_certificate_is_replaced() -> None:
    """Even where no renewal time is known."""
    newest = revision(not_after=NOW)
    assert plan(state(newest, renewal_due=None)) == Issue("renewal", 4, newest)


def test_a_pending_intent_is_finished_before_anything_else() -> None:
    """An intent is never dropped: it is signed, and published only if it is still what is asked for."""
    pending = revision(state="pending", certificate_state=None)
    assert plan(state(pending)) == Finish(pending, wanted=True)
    assert plan(state(pending, spec_hash=b"b" * 32)) == Finish(pending, wanted=False)
    assert plan(state(pending, issuer_key_id=OTHER_KEY)) == Finish(pending, wanted=False)


@pytest.mark.parametrize("newest", [revision(state="superseded"), revision(certificate_state="revoked")])
def test_what_was_superseded_or_revoked_is_followed_by_the_next_revision(newest: Revision) -> None:
    """Its revision number is never used again."""
    assert plan(state(newest)) == Issue("initial", 4, newest)


def test_an_object_created_again_adopts_the_live_certificate() -> None:
    """A restore or a GitOps re-creation issues nothing."""
    newest = revision()
    assert plan(state(newest, resource_uid=OTHER_UID)) == Publish(newest, adopted=True)


def test_an_object_created_again_with_another_spec_starts_its_own_revisions() -> None:
    """Its first revision replaces the certificate of the object before it."""
    newest = replace(revision(), spec_hash=b"b" * 32)
    assert plan(state(newest, resource_uid=OTHER_UID)) == Issue("spec-changed", 1, newest)
