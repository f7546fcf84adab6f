"""A Certificate's status is read back as it was written, and never makes the operator fail."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.resources.certificate import CertificateStatus, parse_status
from clm.resources.status import parse_time

ID = uuid.UUID("5b0b7a5e-7f0e-4b43-8f0c-0d3f0a3c7d11")


def test_reads_what_the_operator_writes() -> None:
    """Every value that is needed again after a restart."""
    status = {
        "observedGeneration": 3,
        "conditions": [
            {"type": "Reconciling", "status": "True"},
            {"type": "Ready", "status": "False", "reason": "PolicyViolation", "message": "why"},
        ],
        "revision": 2,
        "serialNumber": "4a:bc",
        "certificateId": str(ID),
        "notAfter": "2026-12-01T00:00:00Z",
        "renewalTime": "2026-11-01T00:00:00Z",
        "secret": {"uid": "u", "resourceVersion": "17"},
    }
    assert parse_status(status) == CertificateStatus(
        observed_generation=3,
        ready=False,
        ready_reason="PolicyViolation",
        ready_message="why",
        revision=2,
        serial_number="4a:bc",
        certificate_id=ID,
        not_after=datetime(2026, 12, 1, tzinfo=UTC),
        renewal_time=datetime(2026, 11, 1, tzinfo=UTC),
        secret_uid="u",
        secret_resource_version="17",
    )


def test_ready_is_unknown_until_it_is_said() -> None:
    """Unknown and absent are neither True nor False."""
    assert parse_status({"conditions": [{"type": "Ready", "status": "Unknown"}]}).ready is None
    assert parse_status({}) == CertificateStatus()


@pytest.mark.parametrize("text", ["", "soon", "2026-12-01T00:00:00", "0001-01-01T00:00:00+14:00", 7, None])
def test_a_time_that_is_none(text: object) -> None:
    """What is not a moment with a zone is not there."""
    assert parse_time(text) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ("observedGeneration", "conditions", "revision", "certificateId", "notAfter", "renewalTime", "secret")


@given(_JSON | st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_never_raises(status: Any) -> None:
    """Whatever stands there."""
    assert isinstance(parse_status(status), CertificateStatus)


@given(st.lists(st.dictionaries(st.sampled_from(("type", "status", "reason")), st.just("Ready") | _JSON)))
def test_never_raises_on_conditions(conditions: list[Any]) -> None:
    """Nor on odd conditions."""
    assert parse_status({"conditions": conditions}).ready is None
