"""A Policy's quota, counted where the intents are written."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from clm.errors import QuotaExceeded
from clm.resources.quotas import Quota

if TYPE_CHECKING:
    from clm.pki.profile import Issuer
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop

POLICY = uuid.UUID(int=3)


async def _issue(
    shop: Workshop,
    issuer: Issuer,
    *,
    at: datetime,
    namespace: str = "shop",
    renewal: bool = False,
    per_hour: int = 4,
) -> datetime | str | None:
    """Issue one certificate; give when it may come where it may not come yet."""
    order = shop.order(issuer, shop.owner(f"web-{uuid.uuid4()}"), quota=Quota(POLICY, namespace, per_hour, renewal, at))
    try:
        await shop.issuance().issue(order, now=datetime.now(UTC), renewal_due=lambda facts: facts.not_after)
    except QuotaExceeded as refused:
        return refused.until
    return "issued"


def test_as_many_as_the_quota_says(workshop: Opener) -> None:
    """Concurrent issuances take the tokens that there are and no more; the others leave nothing behind.

    With four an hour the next comes after a quarter of one. Namespaces have buckets of their own, and a renewal takes
    what is not there.
    """

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            now = datetime.now(UTC)
            quarter = timedelta(minutes=15)
            outcome = await asyncio.gather(*(_issue(shop, issuer, at=now) for _ in range(7)))
            assert outcome.count("issued") == 4
            told = sorted(it for it in outcome if isinstance(it, datetime))
            assert [round((it - now) / quarter, 3) for it in told] in ([1, 2, 3], [1, 1, 2], [1, 1, 1])
            written = await shop.query("SELECT count(*) AS n FROM certificate_requests WHERE name LIKE 'web-%%'")
            keys = await shop.query("SELECT count(*) AS n FROM private_keys")
            assert written[0]["n"] == keys[0]["n"] == 4

            assert await _issue(shop, issuer, at=now, namespace="other") == "issued"
            assert await _issue(shop, issuer, at=now, renewal=True) == "issued"
            # It owes one: the next comes a quarter later.
            later = await _issue(shop, issuer, at=now + quarter)
            assert later == now + 2 * quarter
            assert await _issue(shop, issuer, at=now + 2 * quarter) == "issued"

    asyncio.run(act())


def test_what_is_not_written_costs_no_token(workshop: Opener) -> None:
    """The token is taken with the intent or not at all."""

    async def act() -> None:
        async with workshop() as shop:
            issuer = await shop.root()
            now = datetime.now(UTC)
            owner = shop.owner("web")
            quota = Quota(POLICY, "shop", 4, False, now)
            order = shop.order(issuer, owner, quota=quota)
            await shop.issuance().issue(order, now=now, renewal_due=lambda facts: facts.not_after)
            with pytest.raises(Exception, match="revision 1"):
                await shop.issuance().issue(order, now=now, renewal_due=lambda facts: facts.not_after)
            left = await shop.query("SELECT tokens FROM clm_work.issuance_quotas")
            assert [row["tokens"] for row in left] == [3]

    asyncio.run(act())


def test_a_quota_of_nothing_takes_no_token_away(workshop: Opener) -> None:
    """A Policy that grants something again begins with what there was; what cannot be put off is issued meanwhile."""

    async def act() -> None:
        async with workshop() as shop:
            issuer, now = await shop.root(), datetime.now(UTC)
            assert await _issue(shop, issuer, at=now) == "issued"
            assert await _issue(shop, issuer, at=now, per_hour=0) is None
            assert await _issue(shop, issuer, at=now, per_hour=0, renewal=True) == "issued"
            left = await shop.query("SELECT tokens FROM clm_work.issuance_quotas")
            assert [row["tokens"] for row in left] == [3]
            assert await _issue(shop, issuer, at=now) == "issued"

    asyncio.run(act())
