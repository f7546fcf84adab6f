"""`clm dev` as a person uses it: up, down, up again with everything kept, Ctrl-C, failure, removal."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.controlplane import PROGRAMS
from clm.dev.files import import_path
from tests.integration.dev.command import TIMEOUT_S, Command, environment_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.dev.binaries import ControlPlaneBinaries

pytestmark = pytest.mark.slow


def test_everything_survives_down_and_up(command: Command) -> None:
    """Token, cluster id, databases and kubeconfig are the same afterwards; nothing runs in between."""
    assert command.run("status").returncode == 1
    command.succeed("up", "--detach")
    first = command.status()
    assert first["ready"]
    assert set(first["processes"]) == {*PROGRAMS, "clm-controller", "clm-responder"}
    kubeconfig = Path(first["kubeconfig"]).read_bytes()
    settings = Path(first["environment_file"]).read_text(encoding="utf-8")
    command.succeed("up", "--detach")
    assert command.status() == first, "a second up starts nothing anew"

    command.succeed("down")
    assert command.running() == []
    assert not command.status()["ready"]

    command.succeed("up", "--detach")
    again = command.status()
    assert again["ready"]
    assert again["token"] == first["token"]
    assert Path(again["kubeconfig"]).read_bytes() == kubeconfig
    assert Path(again["environment_file"]).read_text(encoding="utf-8") == settings

    command.succeed("down", "--delete")
    assert command.running() == []
    assert not command.state.exists()


def test_the_examples_become_ready(command: Command) -> None:
    """What `make run` shows: every Certificate of the examples is Ready and openssl verifies every chain."""
    done = command.run("demo")
    assert done.returncode != 0
    assert "clm dev up" in done.stderr
    command.succeed("up", "--detach")
    shown = command.succeed("demo")
    assert shown.count("verified") == 7
    assert "no openssl" not in shown
    pin = Path(command.status()["token"]["pin_file"]).read_text(encoding="utf-8").strip()
    for log in (command.state / "logs").iterdir():
        assert pin not in log.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [("ready", signal.SIGINT, 1), ("Ctrl-C", signal.SIGINT, 0), ("Ctrl-C", signal.SIGHUP, 0)],
)
def test_signals_take_everything_down(command: Command, moment: str, number: signal.Signals, code: int) -> None:
    """To the whole group as a terminal sends them, in the midst of the start or later, and however often they come."""
    with (command.state.parent / "output").open("w+b") as output, _answering(number):
        foreground = subprocess.Popen(
            [*command.prefix, "up"],
            env=dict(command.environment),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
        assert foreground.stdout is not None
        for line in foreground.stdout:
            if moment.encode() in line:
                break
        assert command.running()
        deadline = time.monotonic() + TIMEOUT_S
        while foreground.poll() is None:
            assert time.monotonic() < deadline
            os.killpg(foreground.pid, number)
            select.select([], [], [], 0.05)
        foreground.stdout.close()
        output.seek(0)
        assert b"Traceback" not in (said := output.read()), said.decode()
        assert foreground.returncode == code, said.decode()
    assert command.running() == []
    assert command.state.exists()


@contextlib.contextmanager
def _answering(number: signal.Signals) -> Iterator[None]:
    """Have programs that are started in here take a signal as by default, also where nohup runs the tests."""
    before = signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.getsignal(number))
    try:
        yield
    finally:
        signal.signal(number, before)


def test_newer_code_and_other_settings_start_the_operator_anew(command: Command, open_folder: Path) -> None:
    """After a `git pull`, or with another CLM_* variable, the one that runs is not the one that is wanted."""
    root, copy = Path(__file__).resolve().parents[3], open_folder / "checkout"
    for name in ("operator", "crds", "config", "migrations", "examples"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    older = {"PYTHONPATH": str(copy / "operator"), "CLM_SWEEP_INTERVAL_S": "50"}
    pids = []
    for change in ("none", "none", "setting", "code"):
        if change == "setting":
            older["CLM_SWEEP_INTERVAL_S"] = "51"
        if change == "code":
            with (copy / "operator" / "clm" / "settings.py").open("a", encoding="utf-8") as file:
                file.write("# newer\n")
        assert command.run("up", "--detach", **older).returncode == 0
        pids.append(command.operator())
    assert pids[0] == pids[1]
    assert len(set(pids)) == 3
    environment = Path(f"/proc/{pids[-1]}/environ").read_bytes().split(b"\0")
    assert b"CLM_SWEEP_INTERVAL_S=51" in environment


def test_a_failed_start_leaves_nothing_running(command: Command, open_folder: Path) -> None:
    """When one part does not start, the others are stopped, and the message says why and where the log is."""
    for program in PROGRAMS:
        path = open_folder / program
        path.write_text("#!/bin/sh\necho out of order\nexit 1\n", encoding="ascii")
        path.chmod(0o755)
    done = command.run("up", "--detach", KUBEBUILDER_ASSETS=str(open_folder))
    assert done.returncode == 1
    assert "etcd" in done.stderr
    assert str(command.state / "logs" / "etcd.log") in done.stderr
    assert "Traceback" not in done.stderr
    assert command.running() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all the other tests as such")
def test_as_an_ordinary_user(open_folder: Path, control_plane_binaries: ControlPlaneBinaries) -> None:
    """Root is not needed: everything runs as `nobody` just the same, and nobody else can read the state."""
    user = pwd.getpwnam("nobody")
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, user.pw_uid, user.pw_gid)
    assets = open_folder / "assets"
    shutil.copytree(control_plane_binaries.etcd.parent, assets)
    assets.chmod(0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = next((path for path in (sys.executable, f"/usr/bin/{version}") if _may_run(path, user)), None)
    if python is None:
        pytest.skip(f"nobody can run neither {sys.executable} nor /usr/bin/{version}")
    environment = environment_for(home / "state", assets)
    environment |= {"HOME": str(home), "PYTHONPATH": f"{import_path()}:{sysconfig.get_path('purelib')}"}
    prefix = ("runuser", "-u", "nobody", "--", python, "-P", "-m", "clm.cli.main", "dev")
    command = Command(home / "state", prefix, environment)
    try:
        command.succeed("up", "--detach")
        assert command.status()["ready"]
        assert command.state.stat().st_mode & 0o777 == 0o700
    finally:
        command.succeed("down", "--delete")
    assert command.running() == []


def _may_run(python: str, user: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run([python, "-c", ""], user=user.pw_uid, group=user.pw_gid, cwd="/", check=False)
    except OSError:
        return False
    return done.returncode == 0
