"""The token may go away and come back: callers wait, nothing is lost, and no other token is taken for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from clm.errors import HsmError, HsmUnavailable, TokenMismatch
from clm.hsm import kek
from clm.hsm.faults import LostError
from clm.hsm.keys import find_signing_key, generate_signing_key
from clm.hsm.library import open_library
from clm.hsm.provision import provision
from clm.hsm.signing import sign
from clm.resources.keys import KeySpec
from tests.integration.hsm.test_signing import MESSAGE, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token
    from tests.fix_token import SoftHsm, TokenStore

P256 = KeySpec("ECDSA", 256)
_DEADLINE_S = 60.0


@pytest.fixture
def own_store(softhsm: SoftHsm) -> TokenStore:
    """A token that this test may break."""
    return softhsm.provision(f"loss-{uuid.uuid4().hex[:12]}")


@contextmanager
def away(directory: Path) -> Iterator[None]:
    """Take the token's objects away, and bring them back."""
    hidden = directory.parent.parent / f"hidden-{directory.name}"
    directory.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(directory)


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that other tasks and threads bring about."""
    async with asyncio.timeout(_DEADLINE_S):
        while not happened():  # noqa: ASYNC110 - an event for each signature would slow the callers
            await asyncio.sleep(0.01)


def test_token_away_and_back_under_load(own_store: TokenStore) -> None:
    """Two outages under signing and wrapping callers: not one caller sees an error, every result is right."""
    key_id, kek_id = uuid.uuid4(), uuid.uuid4()
    signatures: list[bytes] = []
    opened: list[bytes] = []

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="ca", spec=P256)
        await kek.generate_kek(token, key_id=kek_id, label="kek")
        finished = asyncio.Event()

        async def caller() -> None:
            while not finished.is_set():
                signatures.append(await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE))
                blob = await kek.wrap(token, kek_id, bytes(32), aad=b"row")
                opened.append(await kek.unwrap(token, kek_id, blob, aad=b"row"))

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(caller())
            for attempts in (1, 4):
                await _more(signatures)
                generation = library.generation
                with away(own_store.directory):
                    # The module was initialized again that often: the loss was noticed, and connecting failed.
                    await until(lambda tried=generation + attempts: library.generation >= tried)  # type: ignore[misc]
                await _more(signatures)
            finished.set()
        for signature in signatures:
            verify(made.spki, signature, MESSAGE, "sha256")

    library = open_library(own_store.module_path)
    own_store.do(act)
    assert opened
    assert set(opened) == {bytes(32)}


async def _more(signatures: list[bytes]) -> None:
    enough = len(signatures) + 50
    await until(lambda: len(signatures) >= enough)


def test_missing_at_start_is_unavailable_and_recovers(own_store: TokenStore) -> None:
    """A token that is not there yet is unavailable at the caller's deadline; when it appears, the next call works."""
    hidden = own_store.directory.parent.parent / f"later-{own_store.directory.name}"

    async def act() -> None:
        own_store.directory.rename(hidden)
        token = own_store.token()
        with pytest.raises(HsmUnavailable, match="no token is labelled"):
            await token.start(deadline_s=0.5)
        hidden.rename(own_store.directory)
        await token.start(deadline_s=10)
        assert token.serial == own_store.serial
        await token.close()

    asyncio.run(act())


def test_absent_key_in_an_absent_token_is_not_missing(own_store: TokenStore) -> None:
    """While the token is away, a search that finds nothing is no proof: unavailable, never "there is no such key"."""
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="ca", spec=P256)
        with away(own_store.directory), pytest.raises(HsmUnavailable):
            await find_signing_key(token, key_id, deadline_s=0.4)
        assert await find_signing_key(token, key_id) == made

    own_store.do(act)


def test_key_that_the_module_has_forgotten(own_store: TokenStore, tmp_path: Path) -> None:
    """The module looked while the key's files were away, as in a restore, and would never look again by itself.

    The token looks sound, but a missing key is believed only after the module was initialized again.
    """
    key_id = uuid.uuid4()

    def look(context: SessionContext) -> int:
        context.check_alive()
        return len(list(context.session.get_objects({})))

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="ca", spec=P256)
        files = [path for path in own_store.directory.glob("*.object") if path.name != "token.object"]
        for path in files:
            path.rename(tmp_path / path.name)
        assert await token.run(look) == 0
        for path in files:
            (tmp_path / path.name).rename(path)
        assert await token.run(look) == 0
        signature = await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)
        verify(made.spki, signature, MESSAGE, "sha256")
        assert await find_signing_key(token, key_id) == made

    own_store.do(act)


def test_logged_out_by_somebody_else(own_store: TokenStore) -> None:
    """Another part of the process logs out: the token logs in again by itself."""
    key_id = uuid.uuid4()

    def log_out(context: SessionContext) -> None:
        # A session opened with a PIN logs everybody out when it is closed.
        stranger = context.connection.token.open(rw=True)
        library = open_library(own_store.module_path)
        assert library.cryptoki._call("C_Logout", int(stranger.handle)) == 0  # type: ignore[attr-defined]
        stranger.close()

    async def act(token: Token) -> None:
        made = await generate_signing_key(token, key_id=key_id, label="ca", spec=P256)
        for _ in range(2):
            await token.run(log_out)
            signature = await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)
            verify(made.spki, signature, MESSAGE, "sha256")
            await token.run(log_out)
            assert await find_signing_key(token, key_id) == made

    own_store.do(act)


def test_another_token_under_the_same_label(own_store: TokenStore, tmp_path: Path) -> None:
    """A token that was made anew is refused for its serial number, also in the middle of work, each time at once.

    At the deadline it would be unavailable instead.
    """
    key_id = uuid.uuid4()

    async def act(token: Token) -> None:
        await generate_signing_key(token, key_id=key_id, label="ca", spec=P256)
        shutil.rmtree(own_store.directory)
        other = await asyncio.to_thread(
            provision, module_path=own_store.module_path, label=own_store.label, directory=tmp_path / "other"
        )
        assert other.serial != own_store.serial
        for _ in range(3):
            with pytest.raises(TokenMismatch, match=own_store.serial):
                await sign(token, key_id, spec=P256, hash_name="sha256", data=MESSAGE)

    own_store.do(act)


def test_two_tokens_under_one_label_need_a_serial_number(own_store: TokenStore, tmp_path: Path) -> None:
    """Which of two tokens is meant is not guessed; with the serial number it is clear."""
    copy = own_store.directory.with_name(str(uuid.uuid4()))

    async def act() -> None:
        hidden = tmp_path / "first"
        own_store.directory.rename(hidden)
        library = open_library(own_store.module_path)
        library.reset(library.generation, deadline=time.monotonic() + 5)
        second = await asyncio.to_thread(
            provision, module_path=own_store.module_path, label=own_store.label, directory=tmp_path / "second"
        )
        hidden.rename(copy)
        library.reset(library.generation, deadline=time.monotonic() + 5)
        unsure = type(own_store.token())(
            module_path=own_store.module_path,
            token_label=own_store.label,
            token_serial=None,
            pin_file=own_store.pin_file,
        )
        with pytest.raises(TokenMismatch, match="several tokens"):
            await unsure.start(deadline_s=2)
        await unsure.close()
        sure = own_store.token()
        await sure.start(deadline_s=5)
        assert sure.serial == own_store.serial != second.serial
        await sure.close()

    asyncio.run(act())


def test_operation_that_never_succeeds_is_given_up(token_store: TokenStore) -> None:
    """A token that connects well and loses the same operation each time is an error, not an endless loop."""
    attempts = []

    def always_lost(_context: SessionContext) -> None:
        attempts.append(1)
        raise LostError("again")

    async def act(token: Token) -> None:
        with pytest.raises(HsmError, match="every time"):
            await token.run(always_lost)

    token_store.do(act)
    assert 1 < len(attempts) < 20


def test_forked_child_may_not_use_the_token(token_store: TokenStore) -> None:
    """A forked child would sign with its parent's login: it is refused before anything is called."""

    def exit_code_of_child(token: Token) -> int:
        child = os.fork()
        if child == 0:
            try:
                token._open_library().check_process()
            except HsmUnavailable:
                os._exit(7)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    async def act(token: Token) -> int:
        with warnings.catch_warnings():
            # Python 3.12 and later warn of what is done here on purpose.
            warnings.simplefilter("ignore", DeprecationWarning)
            return exit_code_of_child(token)

    assert token_store.do(act) == 7
