"""`clm renew`: what is asked for, what makes no sense, and what became of it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from click.testing import CliRunner

from clm.cli.renew import renew
from clm.errors import ClmError, ClusterUnavailable, Forbidden, Invalid, InvalidInput
from clm.lifecycle.renewal import RENEW_REQUESTED_AT
from clm.lifecycle.renewal_requests import Asked, Selection, ask, became, select, why_not
from clm.lifecycle.view import Key
from clm.pki.tbs import BACKDATE

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _body(
    *, issued: datetime | None = NOW - 24 * HOUR, asked: datetime | None = None, **changes: Any
) -> dict[str, Any]:
    status = {
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1}],
        **({"certificateId": str(uuid.UUID(int=1)), "notBefore": (issued - BACKDATE).isoformat()} if issued else {}),
    }
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "generation": 1,
            "annotations": {RENEW_REQUESTED_AT: asked.isoformat()} if asked else {},
            **changes.get("metadata", {}),
        },
        "spec": changes.get("spec", {}),
        "status": {**status, **changes.get("status", {})},
    }


def _failed(at: datetime) -> dict[str, Any]:
    said = {"type": "Issuing", "status": "False", "reason": "Failed", "message": "no", "observedGeneration": 1}
    return {"lastFailureTime": at.isoformat(), "nextAttemptTime": (at + HOUR).isoformat(), "conditions": [said]}


@pytest.mark.parametrize(
    ("body", "outcome", "why"),
    [
        (_body(), None, ""),
        (_body(asked=NOW - 48 * HOUR), None, ""),
        (_body(asked=NOW - HOUR), "already asked", ""),
        # That request has failed: it may be repeated.
        (_body(asked=NOW - HOUR, status=_failed(NOW - HOUR / 2)), None, ""),
        (_body(issued=None, status=_failed(NOW - HOUR / 2)), None, ""),
        (_body(issued=None), "refused", "nothing was issued for it yet"),
        (_body(spec={"revocation": {}}), "refused", "spec.revocation"),
        (_body(metadata={"deletionTimestamp": NOW.isoformat()}), "refused", "being deleted"),
    ],
)
def test_what_makes_no_sense_is_refused(body: dict[str, Any], outcome: str | None, why: str) -> None:
    """And is told with its reason, before anything is written."""
    found = why_not(body, now=NOW)
    assert (found.outcome if found else None) == outcome
    assert found is None or why in found.why


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (_body(), "waiting"),
        (_body(issued=NOW), "renewed"),
        (_body(issued=NOW, metadata={"generation": 2}), "waiting"),
        (_body(status=_failed(NOW)), "failed"),
        (_body(status=_failed(NOW - HOUR)), "waiting"),
        (None, "failed"),
    ],
)
def test_what_became_of_it(body: dict[str, Any] | None, outcome: str) -> None:
    """Renewed is only what was issued after the request and stands for the present spec."""
    asked = Asked(Key("shop", "web"), "asked", asked_at=NOW)
    assert became(body, asked).outcome == outcome


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name Certificates, or select them"),
        (["web"], "NAMESPACE/NAME"),
        (["a/b/c"], "NAMESPACE/NAME"),
        (["shop/web", "--all"], "not both"),
        (["shop/web", "-A"], "not both"),
        (["--all"], "say where"),
        (["--policy", "p"], "say where"),
        (["--all", "-n", "shop", "-A"], "say where"),
        (["shop/web", "--timeout", "0"], "--timeout"),
    ],
)
def test_a_command_that_makes_no_sense(arguments: list[str], told: str) -> None:
    """Exits with 2 and asks nobody."""
    result = CliRunner().invoke(renew, arguments)
    assert result.exit_code == 2
    assert told in result.output


class _Failing:
    """An API server that answers every request with one error."""

    def __init__(self, error: ClmError) -> None:
        self._error = error

    async def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise self._error

    merge_patch = request


def test_an_outage_is_no_refusal() -> None:
    """What the API server refuses is told of that Certificate; where it is away the rest is not called refused."""
    refused = asyncio.run(ask(cast("Any", _Failing(Forbidden("no right"))), _body(), now=NOW))
    assert (refused.outcome, refused.why) == ("refused", "no right")
    with pytest.raises(ClusterUnavailable, match="503"):
        asyncio.run(ask(cast("Any", _Failing(ClusterUnavailable("503"))), _body(), now=NOW))


def test_the_selector_is_blamed_only_where_there_is_one() -> None:
    """Any other way of selecting has its own error."""
    client = cast("Any", _Failing(Invalid("400")))
    with pytest.raises(InvalidInput, match="--selector: 400"):
        asyncio.run(select(client, Selection(labels="a in")))
    with pytest.raises(Invalid, match=r"^400$"):
        asyncio.run(select(client, Selection(policy="p")))
