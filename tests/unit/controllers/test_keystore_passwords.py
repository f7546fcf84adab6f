"""Which Certificates are told that the password of their keystore has changed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clm.controllers.keystore_passwords import PasswordWatch
from clm.errors import ClmError, ClusterUnavailable, Forbidden, Refused
from clm.lifecycle.view import Key

FIRST, SECOND = Key("a", "web"), Key("b", "web")


class _Answers:
    """Answers by the path; an exception is raised."""

    def __init__(self, first: ClmError) -> None:
        self._first = first

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        if "/a/" in path:
            raise self._first
        return {"metadata": {"resourceVersion": "2"}}


def _told(first: ClmError) -> list[Key]:
    entry = SimpleNamespace(ready=True, password_secrets=(("password", "1"),))
    view = SimpleNamespace(items=lambda: [(FIRST, entry), (SECOND, entry)], get=lambda _: entry)
    told: list[Key] = []
    watch = PasswordWatch(
        view=cast("Any", view), client=cast("Any", _Answers(first)), changed=told.append, clock=lambda: 0.0
    )
    asyncio.run(watch.look())
    return told


@pytest.mark.parametrize("error", [Forbidden("403"), Refused("no")])
def test_a_secret_that_cannot_be_read_hides_no_other(error: ClmError) -> None:
    """What is wrong with one Secret does not stop the round."""
    assert _told(error) == [SECOND]


def test_an_outage_ends_the_round() -> None:
    """The others would be asked in vain."""
    with pytest.raises(ClusterUnavailable):
        _told(ClusterUnavailable("500"))


def test_a_secret_that_never_rests_is_followed_ever_more_slowly() -> None:
    """Another version each minute for a day; after quiet hours a change is told at once again."""
    now = 0.0
    entry = SimpleNamespace(ready=True, password_secrets=(("password", "1"),))
    view = SimpleNamespace(items=lambda: [(SECOND, entry)], get=lambda _: entry)
    told: list[float] = []
    watch = PasswordWatch(
        view=cast("Any", view),
        client=cast("Any", _Answers(ClusterUnavailable("503"))),
        changed=lambda _: told.append(now),
        clock=lambda: now,
    )
    while now < 86_400:
        asyncio.run(watch.look())
        now += 60.0
    assert told[:3] == [0.0, 60.0, 120.0]
    assert max(sum(1 for moment in told if since <= moment < since + 3600) for since in told) <= 4
    now += 10_000.0
    asyncio.run(watch.look())
    assert told[-1] == now
