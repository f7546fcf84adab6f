"""One PKCS#11 module in this process: its locks, its calls in flight, its generations.

``C_Initialize`` and ``C_Finalize`` are for the whole process, and ``C_Finalize`` with calls in flight is undefined
(PKCS#11 2.40 base 5.4). So every call passes this gate, and a reset waits until all are out.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Self

from pkcs11 import _pkcs11
from pkcs11.exceptions import PKCS11Error

from clm.errors import HsmUnavailable
from clm.hsm.cryptoki import (
    CKR_CRYPTOKI_ALREADY_INITIALIZED,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_OK,
    Cryptoki,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pkcs11 import Slot


class StaleGenerationError(Exception):
    """The module was initialized again: sessions and handles from before are void. Never leaves this room."""


class _LockingLibrary(_pkcs11.lib):
    """python-pkcs11's library, initialized for use by several threads."""

    def __init__(self, module_path: str, cryptoki: Cryptoki) -> None:
        self._cryptoki = cryptoki
        super().__init__(module_path)

    def __new__(cls, module_path: str, cryptoki: Cryptoki) -> Self:
        """Hand on to the extension type only what it knows."""
        del cryptoki
        return _pkcs11.lib.__new__(cls, module_path)  # type: ignore[call-arg]

    def initialize(self) -> None:
        result = self._cryptoki.initialize()
        if result not in (CKR_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED):
            raise PKCS11Error(f"C_Initialize answers error code {result:#x}")

    def finalize(self) -> None:
        result = self._cryptoki.finalize()
        if result not in (CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED):
            raise PKCS11Error(f"C_Finalize answers error code {result:#x}")

    def reinitialize(self) -> None:
        self.finalize()
        self.initialize()


class Library:
    """The gate to one module. Get it by `open_library`: a process has one for each module."""

    def __init__(self, module_path: str) -> None:
        """Load and initialize the module. Raises HsmUnavailable."""
        self.module_path = module_path
        self._state = threading.Condition()
        self._in_flight: dict[int, float] = {}
        self._resetting = False
        self._generation = 1
        self._process = os.getpid()
        try:
            self.cryptoki = Cryptoki(module_path)
            self._library = _LockingLibrary(module_path, self.cryptoki)
        except (OSError, PKCS11Error) as error:
            raise HsmUnavailable(f"PKCS#11 module {module_path}: {error}") from None

    @property
    def generation(self) -> int:
        """How often the module was initialized. Handles are good for one generation."""
        return self._generation

    @property
    def description(self) -> str:
        """What the module calls itself, with its version."""
        major, minor = self._library.library_version
        return f"{self._library.manufacturer_id} {self._library.library_description} {major}.{minor}"

    def check_process(self) -> None:
        """Refuse a forked child: it would sign with its parent's login. Raises HsmUnavailable."""
        if os.getpid() != self._process:
            raise HsmUnavailable("the process was forked after the PKCS#11 module was loaded; spawn it instead")

    def call(self, generation: int) -> _Call:
        """Context of one call; raises StaleGenerationError when the handles of `generation` are void."""
        return _Call(self, generation)

    def get_slots(self) -> list[Slot]:
        """Slots of the module. To be called within `call`."""
        return self._library.get_slots()

    def oldest_call_s(self) -> float:
        """Age in seconds of the oldest call in flight; 0 when there is none."""
        with self._state:
            started = min(self._in_flight.values(), default=None)
        return 0.0 if started is None else time.monotonic() - started

    def reset(self, generation: int, *, deadline: float) -> int:
        """Finalize and initialize, unless somebody did since `generation`. Returns the new generation.

        `deadline` is on the monotonic clock. Raises HsmUnavailable when a call in flight does not end by then, and
        PKCS11Error when the module refuses to be initialized (its token store is away); then the generation moves
        on all the same, since nothing of the old one is left.
        """
        with self._state:
            self._wait_for(lambda: not self._resetting, deadline)
            if self._generation != generation:
                return self._generation
            self._resetting = True
            try:
                self._wait_for(lambda: not self._in_flight, deadline)
            except HsmUnavailable:
                self._end_reset()
                raise
            self._in_flight[threading.get_ident()] = time.monotonic()
        try:
            self._library.reinitialize()
        finally:
            with self._state:
                del self._in_flight[threading.get_ident()]
                self._generation += 1
                self._end_reset()
        return self._generation

    def _end_reset(self) -> None:
        self._resetting = False
        self._state.notify_all()

    def _wait_for(self, ready: Callable[[], bool], deadline: float) -> None:
        if not self._state.wait_for(ready, timeout=max(0.0, deadline - time.monotonic())):
            raise HsmUnavailable("a call into the PKCS#11 module does not return")

    def _enter(self, generation: int) -> None:
        with self._state:
            while self._resetting:
                self._state.wait()
            if generation != self._generation:
                raise StaleGenerationError
            self._in_flight[threading.get_ident()] = time.monotonic()

    def _leave(self) -> None:
        with self._state:
            del self._in_flight[threading.get_ident()]
            if self._resetting:
                self._state.notify_all()


class _Call:
    """One stay inside the gate."""

    __slots__ = ("_generation", "_library")

    def __init__(self, library: Library, generation: int) -> None:
        self._library = library
        self._generation = generation

    def __enter__(self) -> None:
        self._library._enter(self._generation)  # noqa: SLF001 - the gate's own half

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library._leave()  # noqa: SLF001 - the gate's own half


# The one state at module level: a module is initialized once for the whole process, whoever asks, and the object
# has to outlive every session (destroying it unloads the module under them).
_LIBRARIES: dict[str, Library] = {}
_LIBRARIES_LOCK = threading.Lock()


def open_library(module_path: str) -> Library:
    """Library of this module, the same one for all callers. Raises HsmUnavailable."""
    with _LIBRARIES_LOCK:
        library = _LIBRARIES.get(module_path)
        if library is None:
            library = _LIBRARIES[module_path] = Library(module_path)
        return library
