"""A call into the token's library that hangs ends what waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from clm.controllers.watchdog import watch_calls
from clm.errors import ControllerEnded, HsmUnavailable

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

_DEADLINE_S = 20.0


def test_a_hung_call_is_seen_and_its_caller_gone(token_store: TokenStore) -> None:
    """The caller gives up at its deadline and the call goes on: it is its age that counts."""
    returned = threading.Event()

    def hang(_: SessionContext) -> None:
        assert returned.wait(_DEADLINE_S)

    async def act(token: Token) -> None:
        watchdog = asyncio.create_task(watch_calls(token.oldest_call_s, limit_s=0.3))
        await token.run(lambda context: context.check_alive())
        try:
            with pytest.raises(HsmUnavailable):
                await token.run(hang, deadline_s=0.05)
            async with asyncio.timeout(_DEADLINE_S):
                with pytest.raises(ControllerEnded, match="hanging"):
                    await watchdog
        finally:
            returned.set()

    token_store.do(act)
