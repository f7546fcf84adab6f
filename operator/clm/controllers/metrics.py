"""What the controller counts, in Prometheus' form. No series an object: 100,000 of them stay one gauge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from clm.lifecycle.results import Done

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.lifecycle.results import Result

_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The controller's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._reconciles = Counter(
            "clm_reconcile", "Reconciles of Certificates by outcome", ["result"], registry=registry
        )
        self._seconds = Histogram(
            "clm_reconcile_seconds", "Time a reconcile takes", buckets=_BUCKETS, registry=registry
        )
        self._done = self._reconciles.labels("done")
        self._retry = self._reconciles.labels("retry")

    def reconciled(self, result: Result, *, seconds: float) -> None:
        """Count one reconcile."""
        (self._done if isinstance(result, Done) else self._retry).inc()
        self._seconds.observe(seconds)

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Publish a value that is read when it is scraped."""
        Gauge(name, description, registry=self.registry).set_function(read)
