"""Workers, deadlines, order and the PIN of a token session."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from clm.errors import HsmUnavailable, PinRejected
from clm.hsm import kek
from clm.hsm.keys import generate_signing_key
from clm.hsm.library import open_library
from clm.hsm.signing import sign
from clm.resources.keys import KeySpec
from tests.integration.hsm.test_signing import MESSAGE, verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import TokenStore

P256 = KeySpec("ECDSA", 256)
_HANG_S = 60.0


@asynccontextmanager
async def hanging(token: Token) -> AsyncIterator[asyncio.Task[None]]:
    """Have a call in the module that does not return before this is left; it has begun when this is entered."""
    loop, begun, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hang(_context: SessionContext) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(_HANG_S)

    call = asyncio.create_task(token.run(hang))
    await begun.wait()
    try:
        yield call
    finally:
        release.set()


def test_threads_sign_and_wrap_together(token_store: TokenStore) -> None:
    """Four workers on four sessions for a second: no crash, every signature and every unwrapped key right.

    A module that is initialized for one thread only crashes the process here.
    """
    key_id, rsa_id, kek_id = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    rsa = KeySpec("RSA", 2048)

    async def act(token: Token) -> None:
        keys = {
            P256: await generate_signing_key(token, key_id=key_id, label="ec", spec=P256),
            rsa: await generate_signing_key(token, key_id=rsa_id, label="rsa", spec=rsa),
        }
        await kek.generate_kek(token, key_id=kek_id, label="kek")
        until = time.monotonic() + 1.5
        checked = 0

        async def caller(spec: KeySpec, place: int) -> None:
            nonlocal checked
            while time.monotonic() < until:
                data = MESSAGE + checked.to_bytes(4, "big")
                signature = await sign(token, keys[spec].key_id, spec=spec, hash_name="sha256", data=data)
                verify(keys[spec].spki, signature, data, "sha256")
                dek = bytes([place]) * 32
                blob = await kek.wrap(token, kek_id, dek, aad=data)
                assert await kek.unwrap(token, kek_id, blob, aad=data) == dek
                checked += 1

        async with asyncio.TaskGroup() as group:
            for place in range(12):
                group.create_task(caller((P256, rsa)[place % 2], place))
        assert checked > 50

    token_store.do(act, workers=4)


def test_wrong_pin_is_tried_once_only(token_store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One C_Login for a wrong PIN, however often it is asked for; a new PIN in the file is tried at once."""
    pin_file = tmp_path / "pin"
    pin_file.write_text("000000\n")
    cryptoki = open_library(token_store.module_path).cryptoki
    original, logins = cryptoki.login, []

    def counting(session: int, user_type: int, pin: str) -> int:
        logins.append(user_type)
        return original(session, user_type, pin)

    monkeypatch.setattr(cryptoki, "login", counting)

    async def act() -> None:
        token = token_store.token(pin_file=pin_file)
        for _ in range(3):
            with pytest.raises(PinRejected) as caught:
                await token.start(deadline_s=5)
            assert "000000" not in str(caught.value)
        assert len(logins) == 1
        pin_file.write_text(token_store.pin_file.read_text())
        await token.start(deadline_s=5)
        assert len(logins) == 2
        await token.close()

    asyncio.run(act())


def test_pin_file_that_appears_later(token_store: TokenStore, tmp_path: Path) -> None:
    """A PIN file that is not mounted yet is an outage, not a rejected PIN."""
    pin_file = tmp_path / "pin"

    async def act() -> None:
        token = token_store.token(pin_file=pin_file)
        with pytest.raises(HsmUnavailable, match="PIN file"):
            await token.start(deadline_s=0.3)
        pin_file.write_text(token_store.pin_file.read_text())
        await token.start(deadline_s=10)
        await token.close()

    asyncio.run(act())


def test_close_logs_out(token_store: TokenStore) -> None:
    """After `close` the token takes no more operations, and the process is no longer logged in."""

    async def act() -> None:
        token = token_store.token(workers=2)
        await token.start()
        connection = token._connection
        assert connection is not None
        await token.close()
        with pytest.raises(HsmUnavailable, match="closed"):
            await token.run(lambda _context: None)
        library = open_library(token_store.module_path)
        session = connection.token.open(rw=True)
        try:
            result, state = library.cryptoki.session_state(int(session.handle))  # type: ignore[attr-defined]
        finally:
            session.close()
        assert (result, state) == (0, 2), "CKS_RW_PUBLIC_SESSION"

    asyncio.run(act())


def test_two_objects_for_one_token_do_not_disturb_each_other(token_store: TokenStore) -> None:
    """A second login to the same token is shared, and closing one leaves the other logged in."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="shared", spec=P256)
        async with token_store.opened() as other:
            await sign(other, key_id, spec=P256, hash_name="sha256", data=MESSAGE)
        signature = await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)
        verify(made.spki, signature, MESSAGE, "sha256")

    token_store.do(act)


def test_first_come_first_served(token_store: TokenStore) -> None:
    """Operations of many callers run in the order in which they were asked for."""
    order: list[int] = []

    def note(place: int, _context: SessionContext) -> None:
        order.append(place)

    async def act(token: Token) -> None:
        await asyncio.gather(*(token.run(partial(note, place)) for place in range(100)))

    token_store.do(act, workers=1)
    assert order == list(range(100))


def test_signatures_do_not_wait_for_a_generation(token_store: TokenStore) -> None:
    """While the one worker signs, a large key is made beside it: what was asked for later is done first."""
    key_id, order = uuid.uuid4(), []

    async def act(token: Token) -> None:
        await generate_signing_key(token, key_id=key_id, label="signs", spec=P256)
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def generate() -> None:
            spec = KeySpec("RSA", 4096)
            await token.run_long(lambda _context: loop.call_soon_threadsafe(begun.set), deadline_s=30)
            await generate_signing_key(token, key_id=uuid.uuid4(), label="large", spec=spec)
            order.append("generated")

        async def signed() -> None:
            await begun.wait()
            for _ in range(20):
                await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)
            order.append("signed")

        await asyncio.gather(generate(), signed())

    token_store.do(act, workers=1)
    assert order == ["signed", "generated"]


def test_long_operations_run_one_at_a_time(token_store: TokenStore) -> None:
    """Two generations never run together, and those that are asked for first run first."""
    seen: list[tuple[int, int]] = []
    running = 0

    def note(place: int, _context: SessionContext) -> None:
        nonlocal running
        running += 1
        seen.append((place, running))
        time.sleep(0.01)
        running -= 1

    async def act(token: Token) -> None:
        await asyncio.gather(*(token.run_long(partial(note, place), deadline_s=30) for place in range(5)))

    token_store.do(act, workers=4)
    assert seen == [(place, 1) for place in range(5)]


def test_deadline_while_waiting(token_store: TokenStore) -> None:
    """A caller behind a slow call gets its answer at its deadline, and its operation never runs."""
    ran = []

    async def act(token: Token) -> None:
        async with hanging(token) as slow:
            with pytest.raises(HsmUnavailable, match=r"within 0\.1 s"):
                await token.run(lambda _context: ran.append(1), deadline_s=0.1)
            assert not slow.done()
        await slow
        await token.run(lambda _context: None)

    token_store.do(act, workers=1)
    assert not ran


def test_oldest_call_shows_a_hanging_call(token_store: TokenStore) -> None:
    """The age of the call in flight grows while it hangs, and is nothing when none is in flight."""

    async def act(token: Token) -> None:
        assert token.oldest_call_s() == 0
        async with hanging(token) as slow:
            seen = token.oldest_call_s()
            assert seen > 0
            async with asyncio.timeout(_HANG_S):
                while token.oldest_call_s() <= seen:  # noqa: ASYNC110 - there is no event of time
                    await asyncio.sleep(0)
            assert not slow.done()
        await slow
        assert token.oldest_call_s() == 0

    token_store.do(act)
