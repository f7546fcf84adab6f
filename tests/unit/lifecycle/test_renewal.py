"""When a certificate is due for renewal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.lifecycle.renewal import RENEW_REQUESTED_AT, is_answered, renew_requested_at, renewal_time
from clm.pki.tbs import BACKDATE
from clm.resources.certificate import CertificateSpec, parse_certificate

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
NOT_BEFORE = ISSUED - BACKDATE


def _spec(**renewal: Any) -> CertificateSpec:
    return parse_certificate({"policyRef": {"name": "p"}, "secretName": "s", "commonName": "c", **renewal})


@pytest.mark.parametrize(
    ("renewal", "lifetime", "before_end"),
    [
        ({}, timedelta(days=90), timedelta(days=30)),
        ({"renewBefore": "240h"}, timedelta(days=90), timedelta(days=10)),
        ({"renewBeforePercentage": 50}, timedelta(days=90), timedelta(days=45)),
        # The issuing CA ends before it: what was asked for does not fit any more.
        ({"renewBefore": "240h"}, timedelta(days=9), timedelta(days=3)),
        # It fits into the lifetime and not into what is left of it at the issuance.
        ({"duration": "1h", "renewBefore": "59m54s"}, timedelta(hours=1), timedelta(minutes=20)),
        ({"duration": "1h", "renewBeforePercentage": 99}, timedelta(hours=1), timedelta(minutes=20)),
        # Never closer to the end than five minutes.
        ({"duration": "1h", "renewBeforePercentage": 1}, timedelta(hours=1), timedelta(minutes=5)),
    ],
)
def test_before_the_end(renewal: dict[str, Any], lifetime: timedelta, before_end: timedelta) -> None:
    """The time counts from the end of the certificate as it was issued."""
    not_after = NOT_BEFORE + lifetime
    assert renewal_time(_spec(**renewal), not_before=NOT_BEFORE, not_after=not_after) == not_after - before_end


@given(
    lifetime_s=st.integers(1, 10**8),
    renewal=st.one_of(
        st.just({}),
        st.integers(1, 99).map(lambda percentage: {"renewBeforePercentage": percentage}),
        st.integers(300, 90 * 86400 - 1).map(lambda before_s: {"renewBefore": f"{before_s}s"}),
    ),
)
def test_never_at_the_issuance(lifetime_s: int, renewal: dict[str, Any]) -> None:
    """No certificate is due when it is issued: there would be no end to issuing."""
    not_after = NOT_BEFORE + timedelta(seconds=lifetime_s)
    assert renewal_time(_spec(**renewal), not_before=NOT_BEFORE, not_after=not_after) >= ISSUED + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("annotation", "answered"),
    [
        ("2025-12-31T23:59:59Z", True),
        ("2026-01-01T00:00:00.9Z", True),
        ("2026-01-01T00:00:01Z", False),
        ("2026-01-01T02:00:00+01:00", False),
    ],
)
def test_a_request_is_answered_once(annotation: str, *, answered: bool) -> None:
    """By a certificate that was issued in the second of the request or later; that it is backdated makes no odds."""
    asked = renew_requested_at({"annotations": {RENEW_REQUESTED_AT: annotation}})
    assert asked is not None
    assert is_answered(asked, not_before=NOT_BEFORE) is answered


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {RENEW_REQUESTED_AT: "soon"}}])
def test_no_request(metadata: dict[str, Any]) -> None:
    """An annotation that is missing or cannot be read asks for nothing."""
    assert renew_requested_at(metadata) is None
