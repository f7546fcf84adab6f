"""What is remembered of an object here, because no database knows of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from clm.lifecycle.entry import entry_of
from clm.lifecycle.renewal import RENEW_REQUESTED_AT

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def _body(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": "0b5ed9b6-6a7f-4b0f-9c3f-5d1f8a6c9e01",
            "namespace": "shop",
            "name": "web",
            "generation": 1,
            "resourceVersion": "7",
            "annotations": annotations,
        },
        "spec": {"policyRef": {"name": "internal"}, "secretName": "web-tls"},
        "status": {
            "notBefore": NOW.isoformat(),
            "notAfter": (NOW + timedelta(days=90)).isoformat(),
            "renewalTime": (NOW + timedelta(days=60)).isoformat(),
        },
    }


def test_the_database_calls_for_a_renewal_by_time() -> None:
    """So nobody here has to remember it for weeks."""
    assert entry_of(_body()).look_is_recorded


def test_a_request_that_is_dated_ahead_is_remembered_here() -> None:
    """The clock of whoever asks may be ahead of ours, and no index has their time."""
    asked = NOW + timedelta(minutes=20)
    entry = entry_of(_body(**{RENEW_REQUESTED_AT: asked.isoformat()}))
    assert entry.renewal_at == asked.timestamp()
    assert not entry.look_is_recorded


def test_a_request_after_the_time_of_renewal_moves_nothing() -> None:
    """The renewal by time comes first, and the database knows of it."""
    asked = NOW + timedelta(days=61)
    entry = entry_of(_body(**{RENEW_REQUESTED_AT: asked.isoformat()}))
    assert entry.renewal_at == (NOW + timedelta(days=60)).timestamp()
    assert entry.look_is_recorded
