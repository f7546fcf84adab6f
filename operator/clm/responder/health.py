"""Liveness, readiness and metrics over HTTP, on a port of their own: the public one gives only what is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from clm.probes import serve_probes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web
    from prometheus_client import Metric

    from clm.responder.parts import Parts


async def serve_health(parts: Parts, waiting_for: Callable[[], str | None], *, port: int, host: str) -> web.AppRunner:
    """Serve /healthz, /readyz and /metrics. The caller cleans up the runner."""
    registry = CollectorRegistry()
    registry.register(ResponderMetrics(parts))
    return await serve_probes(registry, waiting_for=waiting_for, port=port, host=host)


class ResponderMetrics:
    """Reads what the parts count when it is scraped: an answer pays for one addition only."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Give every figure."""
        parts = self._parts
        requests = CounterMetricFamily(
            "clm_responder_requests",
            "Requests answered, by what was asked for and HTTP status",
            labels=["kind", "code"],
        )
        for (kind, code), count in sorted(parts.routes.counts.items()):
            requests.add_metric([kind, str(code)], count)
        yield requests
        answers = CounterMetricFamily(
            "clm_responder_ocsp_answers",
            "OCSP answers: cached, signed, or the status of those that are no answer",
            labels=["result"],
        )
        for result, count in sorted(parts.answers.counts.items()):
            answers.add_metric([result], count)
        yield answers
        yield GaugeMetricFamily("clm_responder_connections", "Connections that are open", len(parts.server))
        yield GaugeMetricFamily("clm_responder_ocsp_kept", "OCSP answers in memory", len(parts.answers))
        yield GaugeMetricFamily(
            "clm_responder_heard_timestamp_seconds",
            "Up to when every revocation has been heard of",
            parts.book.heard_at,
        )
        yield from self._issuers()

    def _issuers(self) -> Iterator[Metric]:
        parts = self._parts
        ends = GaugeMetricFamily(
            "clm_responder_ocsp_not_after_timestamp_seconds",
            "Until when OCSP answers for a CA can be signed; 0: not at all",
            labels=["issuer"],
        )
        for issuer in parts.documents.issuers.values():
            if issuer.ocsp_enabled:
                delegation = parts.delegations.get(issuer.key_id)
                ends.add_metric([issuer.name], delegation.not_after if delegation is not None else 0)
        yield ends
        updates = GaugeMetricFamily(
            "clm_responder_crl_next_update_timestamp_seconds",
            "nextUpdate of the CRL that is served, the earliest of a CA's",
            labels=["issuer"],
        )
        earliest: dict[str, float] = {}
        for (key_id, _, _), crl in parts.documents.crls.items():
            issuer_ = parts.documents.issuers.get(key_id)
            name = issuer_.name if issuer_ is not None else str(key_id)
            earliest[name] = min(earliest.get(name, float("inf")), crl.next_update.timestamp())
        for name, at in sorted(earliest.items()):
            updates.add_metric([name], at)
        yield updates
