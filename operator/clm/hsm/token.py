"""A logged-in token that survives losing its sessions, its connection, or the whole token for a while.

Operations run in worker threads of their own, those that take seconds apart from the others. When one fails because
the token or a session is lost, its worker connects again (finalize, initialize, login) and repeats the operation, so
operations must be safe to repeat. Callers wait up to their deadline.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pkcs11.exceptions import PKCS11Error

from clm.errors import ClmError, HsmError, HsmUnavailable, PinRejected, TokenMismatch
from clm.hsm.connection import Connection, connect
from clm.hsm.faults import LostError, describe, is_lost, to_clm_error
from clm.hsm.library import Library, StaleGenerationError, open_library
from clm.hsm.pin import PinFile
from clm.hsm.session import SessionContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

T = TypeVar("T")

DEADLINE_S = 30.0
_BACKOFF_FIRST_S = 0.05
_BACKOFF_LAST_S = 5.0
_DOUBT_INTERVAL_S = 30.0
_LOSSES_UNTIL_GIVING_UP = 8
"""A token that connects well and then loses the same operation this often does not do the operation."""

_LOG = logging.getLogger(__name__)


class Token:
    """One token, by label and serial number. `start` before use, `close` at the end."""

    def __init__(
        self, *, module_path: str, token_label: str, token_serial: str | None, pin_file: Path, workers: int = 2
    ) -> None:
        """Keep what is needed to connect; nothing is loaded yet.

        Without `token_serial` the first token found is the right one for as long as this object lives.
        """
        self._module_path = module_path
        self._label = token_label
        self._serial = token_serial
        self._pin_file = PinFile(pin_file)
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None
        self._long_executor: ThreadPoolExecutor | None = None
        self._library: Library | None = None
        self._local = threading.local()
        self._connecting = threading.Lock()
        self._connection: Connection | None = None
        self._backoff_s = 0.0
        self._not_before = 0.0
        self._last_failure: ClmError | None = None
        self._doubted: dict[bytes, tuple[int, float]] = {}
        self._check_values: dict[bytes, bytes] = {}

    @property
    def label(self) -> str:
        """Label of the token (CK_TOKEN_INFO)."""
        return self._label

    @property
    def serial(self) -> str:
        """Serial number of the token. Raises HsmUnavailable before the first login, unless it was given."""
        if self._serial is None:
            raise HsmUnavailable(f"token {self._label!r} was not reached yet")
        return self._serial

    @property
    def module_description(self) -> str:
        """What the PKCS#11 module calls itself. Raises HsmUnavailable before `start`."""
        return self._open_library().description

    def rejected_logins(self) -> int:
        """Count how often the token has rejected a PIN since the start."""
        return self._pin_file.rejections

    async def start(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Load the module and log in.

        Raises HsmUnavailable, PinRejected, TokenMismatch or HsmError. The object stays usable after HsmUnavailable:
        each operation tries to connect.
        """
        if self._executor is None:
            self._library = await asyncio.to_thread(open_library, self._module_path)
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="hsm")
            self._long_executor = ThreadPoolExecutor(1, thread_name_prefix="hsm-long")
        await self.run(SessionContext.check_alive, deadline_s=deadline_s)

    async def close(self) -> None:
        """Let running operations end and close the sessions; the last session of the process logs out."""
        executors = (self._executor, self._long_executor)
        self._executor = self._long_executor = None
        if executors == (None, None):
            return
        for executor in executors:
            if executor is not None:
                await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self._disconnect)

    async def run(self, operation: Callable[[SessionContext], T], *, deadline_s: float = DEADLINE_S) -> T:
        """Run an operation in a worker's session; first come, first served.

        The operation is repeated after a loss, so it must be safe to repeat. Raises what it raises, HsmUnavailable
        at the deadline, PinRejected, TokenMismatch, and HsmError or Unsupported for an error that the token answers.
        """
        return await self._run(self._executor, operation, deadline_s)

    async def run_long(self, operation: Callable[[SessionContext], T], *, deadline_s: float) -> T:
        """Run an operation that takes seconds, one at a time, in a session that nobody signs in; else as `run`."""
        return await self._run(self._long_executor, operation, deadline_s)

    async def _run(
        self, executor: ThreadPoolExecutor | None, operation: Callable[[SessionContext], T], deadline_s: float
    ) -> T:
        self._open_library().check_process()
        if executor is None:
            raise HsmUnavailable(f"token {self._label!r} is closed")
        deadline = time.monotonic() + deadline_s
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s):
                return await loop.run_in_executor(executor, self._perform, operation, deadline)
        except TimeoutError:
            raise HsmUnavailable(f"token {self._label!r} did not answer within {deadline_s:g} s") from None

    def remember(self, key_id: UUID, check_value: bytes) -> None:
        """Note by what the recorded secret key of this id is told from another one under the same id."""
        self._check_values[key_id.bytes] = check_value

    def oldest_call_s(self) -> float:
        """Age in seconds of the oldest call into the module, for liveness: a hung call cannot be cancelled."""
        return 0.0 if self._library is None else self._library.oldest_call_s()

    def _open_library(self) -> Library:
        if self._library is None:
            raise HsmUnavailable(f"token {self._label!r} was not started")
        return self._library

    def _perform(self, operation: Callable[[SessionContext], T], deadline: float) -> T:
        library = self._open_library()
        failure: Exception | None = None
        losses = 0
        while losses < _LOSSES_UNTIL_GIVING_UP:
            if time.monotonic() >= deadline:
                raise self._unreachable()
            connection = self._connected(deadline)
            try:
                with library.call(connection.generation):
                    return operation(self._context(library, connection))
            except StaleGenerationError:
                continue
            except PKCS11Error as error:
                if not is_lost(error):
                    raise to_clm_error(error) from None
                failure = error
            except LostError as error:
                failure = error
            losses += 1
            self._lose(library, connection, failure, deadline)
        raise HsmError(f"token {self._label!r} answers every time with {describe(failure) if failure else ''}")

    def _context(self, library: Library, connection: Connection) -> SessionContext:
        """Session of this thread."""
        context: SessionContext | None = getattr(self._local, "context", None)
        if context is None or context.connection is not connection:
            session = connection.open_session()
            context = SessionContext(
                library=library,
                connection=connection,
                session=session,
                may_doubt=self._may_doubt,
                check_values=self._check_values,
            )
            self._local.context = context
        return context

    def _connected(self, deadline: float) -> Connection:
        """Give the current connection, made anew if needed; waits with back-off until the deadline."""
        library = self._open_library()
        while True:
            connection = self._connection
            if connection is not None and connection.generation == library.generation:
                return connection
            if not self._connecting.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise self._unreachable()
            try:
                if self._connection is connection:
                    self._connect_once(library, deadline)
            finally:
                self._connecting.release()

    def _connect_once(self, library: Library, deadline: float) -> None:
        self._await_turn(deadline)
        try:
            self._pin_file.read()
        except HsmUnavailable as error:
            self._note_failure(error)
            return
        generation = library.generation
        try:
            connection = connect(library, label=self._label, serial=self._serial, pin_file=self._pin_file)
        except PinRejected:
            raise
        except StaleGenerationError:
            return
        except (ClmError, PKCS11Error) as error:
            self._note_failure(error)
            self._reset(library, generation, deadline)
            return
        if self._last_failure is not None:
            _LOG.info("token %r answers again", self._label)
        self._connection, self._serial = connection, connection.serial
        self._last_failure, self._backoff_s, self._not_before = None, 0.0, 0.0

    def _await_turn(self, deadline: float) -> None:
        now = time.monotonic()
        if isinstance(self._last_failure, TokenMismatch) and now < self._not_before:
            raise self._last_failure
        if max(now, self._not_before) >= deadline:
            raise self._unreachable()
        time.sleep(max(0.0, self._not_before - now))

    def _note_failure(self, error: Exception) -> None:
        failure = error if isinstance(error, ClmError) else HsmUnavailable(describe(error))
        if type(failure) is not type(self._last_failure):
            _LOG.warning("token %r cannot be used: %s", self._label, failure)
        self._last_failure = failure
        self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_FIRST_S), _BACKOFF_LAST_S)
        self._not_before = time.monotonic() + self._backoff_s

    def _lose(self, library: Library, connection: Connection, error: Exception, deadline: float) -> None:
        if self._connection is connection:
            _LOG.warning("token %r is lost, connecting again: %s", self._label, describe(error))
            self._last_failure = HsmUnavailable(describe(error))
        self._reset(library, connection.generation, deadline)

    def _reset(self, library: Library, generation: int, deadline: float) -> None:
        try:
            library.reset(generation, deadline=deadline)
        except PKCS11Error as error:
            self._note_failure(error)

    def _unreachable(self) -> HsmUnavailable:
        reason = self._last_failure or "it does not answer"
        return HsmUnavailable(f"token {self._label!r} cannot be reached: {reason}")

    def _may_doubt(self, key_id: bytes, generation: int) -> bool:
        """Whether a key that was not found in this generation may still be there in the next one."""
        now = time.monotonic()
        doubted_in, until = self._doubted.get(key_id, (generation, 0.0))
        if now < until:
            return doubted_in == generation
        self._doubted = {known: entry for known, entry in self._doubted.items() if now < entry[1]}
        self._doubted[key_id] = (generation, now + _DOUBT_INTERVAL_S)
        return True

    def _disconnect(self) -> None:
        library, connection = self._open_library(), self._connection
        self._connection = None
        if connection is None:
            return
        try:
            with library.call(connection.generation):
                connection.close()
        except (PKCS11Error, StaleGenerationError) as error:
            _LOG.debug("closing the sessions of token %r: %s", self._label, describe(error))
