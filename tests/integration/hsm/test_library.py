"""The gate to a module: no reset with calls in flight, no call with handles from before a reset."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from clm.errors import HsmUnavailable
from clm.hsm.library import Library, StaleGenerationError, open_library

if TYPE_CHECKING:
    from tests.fix_token import SoftHsm


@pytest.fixture
def library(softhsm: SoftHsm) -> Library:
    """The module's library, the only one of this process."""
    return open_library(softhsm.module_path)


class Caller:
    """A thread that stays in a call until it is told to leave."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._entered, self._leave = threading.Event(), threading.Event()
        self.left_at = 0.0
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Self:
        """Start the thread and wait until it is in its call."""
        self._thread.start()
        assert self._entered.wait(5)
        return self

    def __exit__(self, *_error: object) -> None:
        """End the call and the thread."""
        self.leave()
        self._thread.join()

    def leave(self) -> None:
        """End the call."""
        self._leave.set()

    def _call(self) -> None:
        with self._library.call(self._library.generation):
            self._entered.set()
            self._leave.wait(5)
            self.left_at = time.monotonic()


def test_one_library_for_a_module(softhsm: SoftHsm, library: Library) -> None:
    """Whoever asks gets the same object: a second C_Initialize is what must not happen."""
    assert open_library(softhsm.module_path) is library


def test_reset_waits_for_calls_in_flight(library: Library) -> None:
    """C_Finalize with a call in flight is undefined: it comes after the last call has left."""
    original = library.generation
    with Caller(library) as caller:
        threading.Timer(0.3, caller.leave).start()
        assert library.reset(original, deadline=time.monotonic() + 5) == original + 1
        assert 0 < caller.left_at <= time.monotonic()


def test_reset_gives_up_on_a_hanging_call(library: Library) -> None:
    """A call that never returns cannot be drained: unavailable at the deadline, nothing finalized, calls go on."""
    original = library.generation
    with Caller(library):
        with pytest.raises(HsmUnavailable, match="does not return"):
            library.reset(original, deadline=time.monotonic() + 0.2)
        assert library.generation == original
        with library.call(original):
            assert library.get_slots()


def test_second_reset_for_the_same_loss_does_nothing(library: Library) -> None:
    """Two threads that saw the same loss initialize the module once."""
    seen = library.generation
    new = library.reset(seen, deadline=time.monotonic() + 5)
    assert library.reset(seen, deadline=time.monotonic() + 5) == new == library.generation


def test_call_with_old_handles_is_refused(library: Library) -> None:
    """After a reset, nobody gets in with a generation from before it."""
    old = library.generation
    library.reset(old, deadline=time.monotonic() + 5)
    with pytest.raises(StaleGenerationError), library.call(old):
        pytest.fail("a call with void handles got in")
    assert library.oldest_call_s() == 0
