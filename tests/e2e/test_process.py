"""The operator as a process: it ends when asked, and a wrong PIN neither ends it nor locks the token."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clm.controllers import run
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import World

_IN_WORK = 8
_SLACK_S = 15.0
_STOP_TIMEOUT_S = run._DRAIN_S + run._KOPF_EXIT_S + run._CLOSE_S + _SLACK_S
"""What the operator may take by design when everything hangs, and what a busy machine may add."""


@contextmanager
def _own_controller(world: World, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the operator as a child of this process, whose exit code can be asked for, instead of the world's own."""
    world.stop_controller()
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "clm.cli.main", "controller"],
            env=world.program_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            world.start_controller()


def _readiness(world: World) -> str:
    """What /readyz says; empty while nobody answers."""
    url = f"http://127.0.0.1:{world.settings['CLM_HEALTH_PORT']}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""


def _wait_readiness(world: World, wanted: str) -> None:
    def look() -> bool | None:
        said = _readiness(world)
        # "ok" is also in "token".
        return True if (said.strip() == wanted or (wanted != "ok" and wanted in said)) else None

    wait(look, f"/readyz to say {wanted}", last=lambda: _readiness(world))


def test_ends_when_asked(world: World, namespace: str, tmp_path: Path) -> None:
    """SIGTERM in the midst of work ends the operator in time and with success; the next one finishes the work."""
    with _own_controller(world, tmp_path / "log") as child:
        _wait_readiness(world, "ok")
        for number in range(_IN_WORK):
            # RSA, whose keys take long enough to be in the making when the signal comes.
            world.api.create(certificate(namespace, f"web-{number}", privateKey={"algorithm": "RSA", "size": 2048}))
        child.send_signal(signal.SIGTERM)
        assert child.wait(_STOP_TIMEOUT_S) == 0
    for number in range(_IN_WORK):
        body = world.wait_ready(namespace, f"web-{number}")
        assert [row["state"] for row in world.recorded(body)] == ["active"]


def test_wrong_pin(world: World, tmp_path: Path) -> None:
    """A wrong PIN is tried once and keeps the operator not ready; it goes on by itself when the right one is there."""
    pin_file, log = Path(world.settings["CLM_TOKEN_PIN_FILE"]), tmp_path / "log"
    right = pin_file.read_text(encoding="utf-8")
    _replace(pin_file, "0000-wrong\n")
    try:
        with _own_controller(world, log) as child:
            _wait_readiness(world, "waiting for the HSM token")
            wait(lambda: True if "not tried again until it changes" in log.read_text() else None, "a second attempt")
            said = log.read_text(encoding="utf-8")
            assert len(re.findall(r"the PIN for token 'clm-dev'", said)) == 1
            assert "0000-wrong" not in said
            assert child.poll() is None
            _replace(pin_file, right)
            _wait_readiness(world, "ok")
    finally:
        _replace(pin_file, right)


def _replace(file: Path, text: str) -> None:
    """Put another file in its place, as a mounted Secret is replaced."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
