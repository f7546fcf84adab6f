"""Series of CAs: bounded in number, and gone with the CA."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from clm.controllers.authority_health import AuthorityMetrics
from clm.lifecycle.authority_health import AuthorityState
from clm.lifecycle.view import Key

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATE = AuthorityState(
    not_before=NOW, not_after=NOW + timedelta(days=1), leaf_duration=timedelta(days=90), key_problem=None, crls=None
)


def test_a_ca_has_series_while_it_is_there() -> None:
    """Its end and whether its key may sign; both go with it."""
    registry = CollectorRegistry()
    metrics = AuthorityMetrics(registry)
    metrics.show({Key("pki", "a"): STATE, Key("pki", "b"): replace(STATE, key_problem="its key is suspended: lost")})
    assert registry.get_sample_value("clm_ca_expiry_timestamp_seconds", {"ca": "pki/a"}) == STATE.not_after.timestamp()
    assert registry.get_sample_value("clm_ca_key_usable", {"ca": "pki/a"}) == 1
    assert registry.get_sample_value("clm_ca_key_usable", {"ca": "pki/b"}) == 0
    metrics.show({Key("pki", "a"): STATE})
    assert registry.get_sample_value("clm_ca_key_usable", {"ca": "pki/b"}) is None


def test_no_number_of_cas_floods_the_metrics() -> None:
    """The first 256 by name."""
    registry = CollectorRegistry()
    AuthorityMetrics(registry).show({Key("pki", f"{number:04}"): STATE for number in range(1000)})
    names = [sample.labels["ca"] for metric in registry.collect() for sample in metric.samples]
    assert len(names) == 2 * 256
    assert max(names) == "pki/0255"
