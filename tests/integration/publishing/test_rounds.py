"""The controller's rounds: what is in the way is told once and tried again, and nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry

from clm.controllers.publishing import PublishingController, PublishingMetrics
from clm.lifecycle.publishing_cas import PublishingCas
from clm.lifecycle.view import ClusterView
from tests.integration.issuance.workshop import ORGANIZATION
from tests.integration.publishing.press import BASE_URL, serial_of
from tests.integration.publishing.test_ocsp_certificates import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest

    from clm.lifecycle.authorities import Authorities
    from tests.integration.publishing.conftest import Printer
    from tests.integration.publishing.press import Press

ISSUER = {"issuer": "shop/root"}


@asynccontextmanager
async def running(press: Press, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Run a controller's rounds, one after the other; no object is in its view."""
    controller = PublishingController(
        cas=PublishingCas(
            view=ClusterView(),
            authorities=cast("Authorities", None),
            store=press.store,
            organization_id=ORGANIZATION,
            public_url=BASE_URL,
            clock=time.monotonic,
        ),
        rounds=press.rounds(),
        responders=certificates(press),
        store=press.store,
        metrics=PublishingMetrics(registry),
        clock=press.now,
    )
    task = asyncio.create_task(controller.run(interval_s=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so."""
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def test_a_token_that_is_away_delays_and_loses_nothing(printer: Printer, caplog: pytest.LogCaptureFixture) -> None:
    """The revocation waits and is told of once; with the token it is on the CRL, and the metrics say so."""
    caplog.set_level(logging.INFO)
    registry = CollectorRegistry()

    def value(name: str, labels: dict[str, str] | None = None) -> float:
        return registry.get_sample_value(name, labels or {}) or 0.0

    async def act(press: Press) -> None:
        async def published() -> bool:
            return value("clm_crl_published_total", ISSUER) > 0

        async def failed_twice() -> bool:
            return value("clm_crl_failures_total", ISSUER) >= 2

        async def listed() -> bool:
            return await press.serials() == {serial_of(web)}

        async with running(press, registry):
            await until(published)
            web = await press.leaf("web")
            await press.shop.token.close()
            await press.revoke(web)
            await until(failed_twice)
            assert await press.waiting() == 1
            await press.shop.token.start()
            await until(listed)

            async def marked() -> bool:
                return await press.waiting() == 0

            await until(marked)
        crl = await press.crl()
        assert crl.next_update_utc is not None
        assert value("clm_crl_next_update_timestamp_seconds", ISSUER) == crl.next_update_utc.timestamp()
        assert value("clm_crl_publish_seconds_count") == 1

    printer(act)
    told = [record.message for record in caplog.records if "published later" in record.message]
    assert len(told) == 1
    assert "closed" in told[0]
    assert "Traceback" not in caplog.text


def test_a_row_that_cannot_be_read_stops_nobody_else(printer: Printer, caplog: pytest.LogCaptureFixture) -> None:
    """The CA is named in the log."""

    async def act(press: Press) -> None:
        rounds = press.rounds()
        await press.query("UPDATE clm_status.issuers SET certificate = 'x'")
        await rounds.refresh()
        assert rounds.cas == {}
        assert await rounds.due() == []
        await press.announce()
        assert await press.round(rounds) == 1

    printer(act)
    assert "shop/root: its certificate in clm_status cannot be read" in caplog.text
