"""Somebody deletes our Secret and puts their own in its place, again and again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clm.errors import AlreadyExists, ClmError, NotOurs
from clm.lifecycle.reconcile import Reconciler
from clm.lifecycle.repair_pace import RepairPace
from clm.lifecycle.results import Result, RetryAfter
from clm.lifecycle.view import Key

KEY = Key("shop", "web")
BODY = {"metadata": {"namespace": "shop", "name": "web"}, "status": {"secret": {"uid": "1", "resourceVersion": "1"}}}


class _Replaced(Reconciler):
    """Finds somebody else's Secret every other time, and in between the name free, so that it writes."""

    def __init__(self, error: ClmError) -> None:
        self.clock = 0.0
        self.writes: list[float] = []
        self._error = error
        self._free = False
        self._pace = RepairPace(clock=lambda: self.clock)
        self._teller = cast("Any", SimpleNamespace(refuse=self._written, refresh=self._unwritten))

    async def _live_or_end(self, *_: Any, **__: Any) -> Result:
        self._free = not self._free
        if not self._free:
            raise self._error
        self.writes += [self.clock, self.clock]  # the Secret and the status
        return RetryAfter("replaced again", delay_s=self._pace.delay_s(KEY))  # as its event has it repaired

    async def _written(self, *_: Any, **__: Any) -> Result:
        self.writes.append(self.clock)
        return RetryAfter("not ours")

    async def _unwritten(self, _key: Key) -> None:
        self.writes.append(self.clock)  # the creation that was refused


@pytest.mark.parametrize("error", [NotOurs("theirs"), AlreadyExists("theirs")])
def test_who_replaces_the_secret_gets_no_more_writes_than_who_edits_it(error: ClmError) -> None:
    """At most ten in any hour of a day, by a clock of its own; the queue's back-off would be a minute at most."""
    replaced = _Replaced(error)

    async def a_day() -> None:
        while replaced.clock < 86_400:
            result = await replaced._attempt(KEY, BODY, cast("Any", None), thorough=False)
            assert isinstance(result, RetryAfter)
            replaced.clock += 0.1 + (60.0 if result.delay_s is None else result.delay_s)

    asyncio.run(a_day())
    writes = replaced.writes
    assert 3 <= max(sum(1 for moment in writes if since <= moment < since + 3600) for since in writes) <= 10
