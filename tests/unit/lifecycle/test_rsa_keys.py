"""RSA keys are generated in line, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from clm.errors import KeyPending
from clm.lifecycle.rsa_keys import MOST, RsaKeys
from clm.lifecycle.view import Key
from clm.pki.keys import key_spec_of
from clm.resources.keys import KeySpec
from clm.resources.records import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

RSA = KeySpec("RSA", 2048)
# Generated the same way, without the wait.
QUICK, OTHER = KeySpec("ECDSA", 256), KeySpec("ECDSA", 384)


def _owner(name: str) -> Owner:
    return Owner(uuid.UUID(int=1), uuid.uuid4(), "shop", name)


@contextmanager
def _held_executor() -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Lend an executor of one thread that does nothing until the event is set."""
    executor, go = ThreadPoolExecutor(1), threading.Event()
    executor.submit(go.wait, 30)
    try:
        yield executor, go
    finally:
        go.set()
        executor.shutdown(wait=True)


async def _wait_for(called: list[Key], count: int) -> None:
    async with asyncio.timeout(30):
        while len(called) < count:  # noqa: ASYNC110 - called from another thread's future
            await asyncio.sleep(0.001)


def test_key_is_given_once() -> None:
    """The object is told to come again, called when its key is there, and a second key is another one."""

    async def act() -> None:
        called: list[Key] = []
        with ThreadPoolExecutor(1) as executor:
            keys, owner = RsaKeys(executor, ready=called.append), _owner("web")
            taken = []
            for times in (1, 2):
                with pytest.raises(KeyPending, match="RSA-2048"):
                    keys.take(owner, RSA)
                await _wait_for(called, times)
                taken.append(keys.take(owner, RSA))
            assert called == [Key("shop", "web")] * 2
            assert {str(key_spec_of(key.public_key())) for key in taken} == {"RSA-2048"}
            assert taken[0].public_key() != taken[1].public_key()

    asyncio.run(act())


def test_first_come_first_served() -> None:
    """Objects are called in the order in which they came; coming again meanwhile costs nobody the place."""

    async def act() -> None:
        called: list[Key] = []
        with _held_executor() as (executor, go):
            keys = RsaKeys(executor, ready=called.append)
            owners = [_owner(f"web-{number}") for number in range(3 * MOST)]
            for owner in (*owners, *reversed(owners)):
                with pytest.raises(KeyPending):
                    keys.take(owner, QUICK)
            go.set()
            for count, owner in enumerate(owners, start=1):
                await _wait_for(called, count)
                keys.take(owner, QUICK)
            assert called == [Key("shop", owner.name) for owner in owners]

    asyncio.run(act())


def test_few_keys_are_in_memory() -> None:
    """Nobody fetches: no more keys are made than may wait to be fetched; who gives up makes room for the next."""

    async def act() -> None:
        called: list[Key] = []
        with ThreadPoolExecutor(1) as executor:
            keys = RsaKeys(executor, ready=called.append)
            owners = [_owner(f"web-{number}") for number in range(2 * MOST)]
            for owner in owners:
                with pytest.raises(KeyPending):
                    keys.take(owner, QUICK)
            await _wait_for(called, MOST)
            await asyncio.get_running_loop().run_in_executor(executor, int)
            assert len(called) == MOST
            for key in called[:MOST]:
                keys.forget(key)
            await _wait_for(called, 2 * MOST)
            assert called == [Key("shop", owner.name) for owner in owners]

    asyncio.run(act())


def test_who_is_gone_is_not_called() -> None:
    """What was forgotten before it was begun is not generated, and its place goes to the next."""

    async def act() -> None:
        called: list[Key] = []
        with _held_executor() as (executor, go):
            keys = RsaKeys(executor, ready=called.append)
            owners = [_owner(f"web-{number}") for number in range(3 * MOST)]
            for owner in owners:
                with pytest.raises(KeyPending):
                    keys.take(owner, QUICK)
            for owner in owners[:-1]:
                keys.forget(Key("shop", owner.name))
            go.set()
            await _wait_for(called, 1)
            await asyncio.get_running_loop().run_in_executor(executor, int)
            assert called == [Key("shop", owners[-1].name)]

    asyncio.run(act())


@pytest.mark.parametrize("change", ["spec", "object"])
def test_key_for_another_wish_is_not_given(change: str) -> None:
    """An object that asks for another algorithm, or another object of that name, gets a key of its own."""

    async def act() -> None:
        called: list[Key] = []
        with ThreadPoolExecutor(1) as executor:
            keys, owner = RsaKeys(executor, ready=called.append), _owner("web")
            with pytest.raises(KeyPending):
                keys.take(owner, QUICK)
            await _wait_for(called, 1)
            wish = (owner, OTHER) if change == "spec" else (_owner("web"), QUICK)
            with pytest.raises(KeyPending):
                keys.take(*wish)
            await _wait_for(called, 2)
            assert key_spec_of(keys.take(*wish).public_key()) == wish[1]

    asyncio.run(act())
