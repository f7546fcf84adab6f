"""Processes outlive their starter, and only the very process that was started is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.files import import_path
from clm.dev.processes import Process, ProcessTable
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEP = ["/bin/sleep", "60"]


def eventually(holds: Callable[[], bool], *, timeout_s: float = 5.0) -> bool:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def record_of(table: ProcessTable, name: str) -> Path:
    """File that a process is on record in."""
    return table.run / f"{name}.process"


def test_started_once_found_and_stopped(table: ProcessTable) -> None:
    """A second start finds the first process; another table on the same folder finds it too; stop ends it."""
    process, is_new = table.start("sleep", SLEEP)
    assert is_new
    assert table.start("sleep", SLEEP) == (process, False)
    other = ProcessTable(table.run, table.logs)
    assert other.find("sleep") == process
    assert other.stop("sleep")
    assert not process.is_running()
    assert table.find("sleep") is None
    assert table.names() == []
    assert not table.stop("sleep")


def test_the_record_holds_the_program_and_not_a_shell_before_it(table: ProcessTable) -> None:
    """The recorded id is that of the program itself; a Ctrl-C at our terminal does not reach it."""
    process, _ = table.start("sleep", SLEEP)
    # For a moment it is the shell, under whatever name, that is about to become the program.
    assert eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes() == b"/bin/sleep\x0060\x00")
    assert os.getsid(process.pid) != os.getsid(0)


def test_an_id_that_was_used_again_is_left_alone(table: ProcessTable) -> None:
    """A stranger that has got the recorded process's id is neither found nor ended."""
    with subprocess.Popen(SLEEP) as stranger:
        stat = Path(f"/proc/{stranger.pid}/stat").read_text(encoding="utf-8").strip()
        fields = stat.split()
        fields[21] = str(int(fields[21]) - 1)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        record_of(table, "sleep").write_text(f"{' '.join(fields)}\n{boot}", encoding="utf-8")
        assert table.find("sleep") is None
        assert not table.stop("sleep")
        assert stranger.poll() is None
        stranger.kill()


def test_a_record_of_another_boot_says_nothing(table: ProcessTable) -> None:
    """After a reboot the same id and start time may be anybody's."""
    process, _ = table.start("sleep", SLEEP)
    record = record_of(table, "sleep")
    original = record.read_text(encoding="utf-8")
    record.write_text(f"{original.splitlines()[0]}\n00000000-0000-0000-0000-000000000000\n", encoding="utf-8")
    assert table.find("sleep") is None
    record.write_text(original, encoding="utf-8")
    assert table.find("sleep") == process


def test_a_process_that_will_not_end_is_killed(table: ProcessTable) -> None:
    """SIGKILL follows when SIGTERM is ignored."""
    process, _ = table.start("stubborn", ["/bin/sh", "-c", "trap '' TERM; echo ignoring; while :; do sleep 0.1; done"])
    assert eventually(lambda: "ignoring" in table.tail("stubborn"))
    assert table.stop("stubborn", timeout_s=0.2)
    assert not process.is_running()


def test_a_killed_process_does_not_run_even_if_nobody_has_waited(table: ProcessTable) -> None:
    """A zombie is not running, and may be started again."""
    process, _ = table.start("sleep", SLEEP)
    os.kill(process.pid, signal.SIGKILL)
    assert eventually(lambda: table.find("sleep") is None)
    again, is_new = table.start("sleep", SLEEP)
    assert is_new
    assert again != process


def test_outlives_its_starter(table: ProcessTable) -> None:
    """A process goes on when the command that started it has ended, and is still ended by its record."""
    script = (
        "import sys; from pathlib import Path; from clm.dev.processes import ProcessTable;"
        "folder = Path(sys.argv[1]); print(ProcessTable(folder, folder).start('sleep', ['/bin/sleep', '60'])[0].pid)"
    )
    environment = {**os.environ, "PYTHONPATH": import_path()}
    command = [sys.executable, "-c", script, str(table.run)]
    pid = int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    process = table.find("sleep")
    assert process == Process(pid, process.start_ticks if process else -1)
    assert table.stop("sleep")
    assert not process.is_running()


def test_a_program_that_is_not_there(table: ProcessTable) -> None:
    """Why is in the log, and nothing is left running under the name."""
    try:
        table.start("absent", ["/nonexistent/program"])
    except StartFailed as error:
        assert str(table.log("absent")) in str(error)  # noqa: PT017 - it may also be noticed only afterwards
    assert eventually(lambda: table.find("absent") is None)
    assert "/nonexistent/program" in table.tail("absent")


def test_output_is_added_to_the_log(table: ProcessTable) -> None:
    """What an earlier process wrote stays readable."""
    for word in ("first", "second"):
        table.start("echo", ["/bin/sh", "-c", f"echo {word}; sleep 60"])
        assert eventually(lambda word=word: word in table.tail("echo"))  # type: ignore[misc]
        table.stop("echo")
    assert table.tail("echo") == "first\nsecond"
    assert table.tail("echo", lines=1) == "second"


@pytest.mark.parametrize("content", ["", "12\n", "nonsense\nnonsense\nnonsense\n"])
def test_a_damaged_record_is_none(table: ProcessTable, content: str) -> None:
    """A record that cannot be read ends nobody."""
    record_of(table, "sleep").write_text(content, encoding="utf-8")
    assert table.find("sleep") is None
