"""Processes that outlive the command that started them, and are ended by exactly the right id.

A process id alone says little: ids are used again. A record therefore holds the start time and the boot too. The
process writes it itself before it becomes the program, so nothing runs that is not on record.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STOP_TIMEOUT_S = 20.0

_KILL_TIMEOUT_S = 10.0
_RECORD_TIMEOUT_S = 10.0
_POLL_S = 0.01
# States of a process that nobody has waited for yet (proc(5), field 3).
_ENDED = frozenset("ZX")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# The inner shell keeps its id and its start time when it becomes the program; $1 is the record. The outer one ends at
# once, so that the program is nobody's child: who started it need not wait for it.
_RECORD_AND_BECOME = """
record=$1; shift
{ cat "/proc/$$/stat"; cat /proc/sys/kernel/random/boot_id; } >"$record.$$" && mv "$record.$$" "$record" && exec "$@"
"""
_ORPHAN = '"$@" &'


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this boot. `start_ticks` counts clock ticks since boot (proc(5), field 22)."""

    pid: int
    start_ticks: int

    def is_running(self) -> bool:
        """Whether this very process runs; one that nobody has waited for yet does not."""
        stat = _read_stat(self.pid)
        return stat is not None and stat[1] == self.start_ticks and stat[0] not in _ENDED


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """The processes of one state folder: records in `run`, output in `logs`."""

    run: Path
    logs: Path

    def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> tuple[Process, bool]:
        """Start a program detached from this one, unless it runs; tell the process and whether it is new.

        Raises StartFailed when the program cannot be started at all.
        """
        running = self.find(name)
        if running is not None:
            return running, False
        record = self._record(name)
        record.unlink(missing_ok=True)
        become = ["/bin/sh", "-c", _RECORD_AND_BECOME, name, str(record), *command]
        try:
            with self.log(name).open("ab") as output:
                subprocess.run(
                    ["/bin/sh", "-c", _ORPHAN, name, *become],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment) if environment is not None else None,
                    cwd="/",
                    start_new_session=True,
                    check=True,
                )
            return self._await_record(name), True
        except KeyboardInterrupt:
            # It may be started and not on record yet: whoever stops everything now would not find it.
            with contextlib.suppress(StartFailed):
                self._await_record(name)
            raise

    def find(self, name: str) -> Process | None:
        """Find the running process of that name."""
        try:
            stat, boot = self._record(name).read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ValueError):
            return None
        if boot != _BOOT_ID.read_text(encoding="utf-8").strip():
            return None
        process = Process(int(stat.split(maxsplit=1)[0]), _parse_stat(stat)[1])
        return process if process.is_running() else None

    def names(self) -> list[str]:
        """Name everything that has a record, running or not."""
        return sorted(path.stem for path in self.run.glob("*.process"))

    def stop(self, name: str, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Ask the process to end (SIGTERM), end it after `timeout_s` (SIGKILL); tell whether it ran.

        Raises StartFailed when even that does not end it.
        """
        process = self.find(name)
        if process is not None:
            self._end(name, process, timeout_s)
        self._record(name).unlink(missing_ok=True)
        return process is not None

    def log(self, name: str) -> Path:
        """File that the program's output is added to."""
        return self.logs / f"{name}.log"

    def tail(self, name: str, *, lines: int = 5) -> str:
        """Give the last lines of a log, for an error message."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _record(self, name: str) -> Path:
        return self.run / f"{name}.process"

    def _await_record(self, name: str) -> Process:
        deadline = time.monotonic() + _RECORD_TIMEOUT_S
        while not self._record(name).exists():
            if time.monotonic() > deadline:
                raise StartFailed(f"{name} left no record; log: {self.log(name)}")
            time.sleep(_POLL_S)
        process = self.find(name)
        if process is None:
            raise StartFailed(f"{name} ended at once; log: {self.log(name)}\n{self.tail(name)}")
        return process

    def _end(self, name: str, process: Process, timeout_s: float) -> None:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            # The id may have passed to another process before it was pinned by the descriptor.
            if process.is_running() and not _signal_and_wait(descriptor, signal.SIGTERM, timeout_s):
                ended = _signal_and_wait(descriptor, signal.SIGKILL, _KILL_TIMEOUT_S)
                if not ended:
                    raise StartFailed(f"{name} (process {process.pid}) does not end")
        finally:
            os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Whether there is no process of that id, or only what is left of one that nobody has waited for yet."""
    stat = _read_stat(pid)
    return stat is None or stat[0] in _ENDED


def _signal_and_wait(descriptor: int, number: signal.Signals, timeout_s: float) -> bool:
    """Send a signal and wait for the end; a process descriptor becomes readable then (pidfd_open(2))."""
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _read_stat(pid: int) -> tuple[str, int] | None:
    try:
        return _parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parse_stat(stat: str) -> tuple[str, int]:
    """State and start time. The name in parentheses may hold blanks and parentheses itself."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])
