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
    view = SimpleNamespace(items=lambda: [(FIRST, entry), (SECOND, entry)])
    told: list[Key] = []
    watch = PasswordWatch(view=cast("Any", view), client=cast("Any", _Answers(first)), changed=told.append)
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
