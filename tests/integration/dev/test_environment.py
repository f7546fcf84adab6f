"""`clm dev` as a person uses it: up, down, up again with everything kept, Ctrl-C, failure, removal."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clm.dev.controlplane import PROGRAMS
from clm.dev.files import import_path
from clm.dev.processes import ProcessTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clm.dev.binaries import ControlPlaneBinaries

pytestmark = pytest.mark.slow

TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Command:
    """`clm dev` on a state folder of its own."""

    state: Path
    prefix: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Its output goes to a file: a process it leaves must not hold a pipe open."""
        return subprocess.run(
            [*self.prefix, *arguments],
            env={**self.environment, **extra},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        """Run a command that must succeed; give its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """What `clm dev status` says."""
        return dict(json.loads(self.run("status", "-o", "json").stdout))

    def logs(self) -> str:
        """Ends of all logs."""
        table = ProcessTable(self.state / "run", self.state / "logs")
        return "\n".join(f"{name}: {table.tail(name)}" for name in (*PROGRAMS, "clm-controller"))

    def running(self) -> list[str]:
        """Every process whose command line names the state folder, whoever started it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.state) in line:
                found.append(line)
        return found


def environment_for(state: Path, assets: Path) -> dict[str, str]:
    """Environment of a command, without what the developer's own shell may have set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CLM_", "SOFTHSM2_"))}
    chosen = {"CLM_DEV_STATE": str(state), "KUBEBUILDER_ASSETS": str(assets), "PYTHONPATH": import_path()}
    return {**inherited, **chosen}


@pytest.fixture
def command(open_folder: Path, control_plane_binaries: ControlPlaneBinaries) -> Iterator[Command]:
    """`clm dev` as the user who runs the tests; whatever a test leaves is taken down."""
    state = open_folder / "state"
    environment = environment_for(state, control_plane_binaries.etcd.parent)
    command = Command(state, (sys.executable, "-P", "-m", "clm.cli.main", "dev"), environment)
    yield command
    command.succeed("down", "--delete")


def test_everything_survives_down_and_up(command: Command) -> None:
    """Token, cluster id, databases and kubeconfig are the same afterwards; nothing runs in between."""
    assert command.run("status").returncode == 1
    command.succeed("up", "--detach")
    first = command.status()
    assert first["ready"]
    assert set(first["processes"]) == {*PROGRAMS, "clm-controller"}
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
    assert shown.count("verified") == 6
    assert "no openssl" not in shown
    pin = Path(command.status()["token"]["pin_file"]).read_text(encoding="utf-8").strip()
    for log in (command.state / "logs").iterdir():
        assert pin not in log.read_text(encoding="utf-8", errors="replace")


def test_ctrl_c_takes_everything_down(command: Command) -> None:
    """In the foreground an interrupt ends every process and keeps every folder."""
    with (command.state.parent / "output").open("wb") as output:
        foreground = subprocess.Popen(
            [*command.prefix, "up"], env=dict(command.environment), cwd="/", stdout=subprocess.PIPE, stderr=output
        )
        assert foreground.stdout is not None
        for line in foreground.stdout:
            if b"Ctrl-C" in line:
                break
        assert command.status()["ready"]
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(TIMEOUT_S) == 0
        foreground.stdout.close()
    assert command.running() == []
    assert command.state.exists()


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
