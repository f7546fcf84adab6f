"""The scripts of hack/ do what they must in the right order, and say what to type where they may not do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.dev.command import Command

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 120
PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(11, 15)))


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without what the developer's own shell has set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CLM_", "PYTHON"))}
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def functions(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands that have the functions of hack/setup."""
    return run("bash", "-c", f"source {ROOT / 'hack' / 'setup'}; {body}", **environment)


def program(folder: Path, name: str, body: str) -> Path:
    """Put a program into a folder that comes first in PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_without_a_python_nothing_is_installed(tmp_path: Path) -> None:
    """An old Python is noticed first, and the message tells of it."""
    for name in PYTHONS:
        program(tmp_path / "bin", name, '[ "$1" = --version ] && echo Python 3.10.12 && exit 0; exit 1')
    installed = tmp_path / "installed"
    for name in ("apt-get", "sudo"):
        program(tmp_path / "bin", name, f'echo "$@" >>{installed}')
    done = run(str(ROOT / "hack" / "setup"), PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and python3 is Python 3.10.12." in done.stderr
    assert not installed.exists()


def test_the_package_of_the_very_python_is_named(tmp_path: Path) -> None:
    """Where venv is missing, it is that of the version which was found."""
    for name in PYTHONS:
        lacking = f'case "$*" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
        program(tmp_path / "bin", name, lacking)
    done = functions("apt_can() { false; }; find_python; system_packages", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 1
    assert f"sudo apt-get install -y python3.{sys.version_info.minor}-venv" in done.stderr


@pytest.mark.parametrize("complete", [True, False])
def test_a_server_without_its_extensions_will_not_do(tmp_path: Path, *, complete: bool) -> None:
    """What setup takes for PostgreSQL is what `clm dev` takes."""
    for name in ("initdb", "pg_ctl"):
        program(tmp_path / "bin", name, "exit 0")
    program(tmp_path / "bin", "postgres", "echo 'postgres (PostgreSQL) 99.1'")
    program(tmp_path / "bin", "pg_config", f"echo {tmp_path}")
    (tmp_path / "extension").mkdir()
    for name in ("pgcrypto", "uuid-ossp") if complete else ("pgcrypto",):
        (tmp_path / "extension" / f"{name}.control").touch()
    # Those of this machine are out of sight.
    hidden = "import clm.dev.postgres_binaries as it; it._system_folders = lambda _: [it.Path(it.os.environ['ONLY'])]"
    program(tmp_path / "bin", "python3", f'shift; exec {sys.executable} -c "{hidden}; $1"')
    done = functions(f"python={tmp_path}/bin/python3; has_postgresql", ONLY=str(tmp_path / "bin"))
    assert done.returncode == (0 if complete else 1), done.stderr


def test_no_cluster_is_made_by_the_package(tmp_path: Path) -> None:
    """Debian's package is told so before it is installed; afterwards everything is as it was."""
    log = tmp_path / "log"
    recorder = f'as_root() {{ echo "$*" >>{log}; [[ $1 != tee ]] || cat >>{log}; }}; apt_can() {{ true; }}; step() '
    recorder += '{ shift; "$@"; }; '
    done = functions(f"{recorder} install_postgresql")
    assert done.returncode == 0, done.stderr
    said = log.read_text(encoding="utf-8").splitlines()
    setting = "/etc/postgresql-common/createcluster.d/clm-setup.conf"
    assert said[1:3] == [f"tee {setting}", "create_main_cluster = false"]
    assert any(line.endswith("--no-install-recommends postgresql") for line in said[3:-1])
    assert said[-1] == f"rm -f {setting}"


def test_what_the_tests_lack_is_named() -> None:
    """Where nothing may be installed, the message has every package."""
    lacking = "apt_can() { false; }; database_test_packages() { printf '%s\\n' one two; }; "
    done = functions(f"{lacking} java_test_packages() {{ echo three; }}; find_python; test_packages")
    assert done.returncode == 1
    assert "sudo apt-get install -y one two three\n" in done.stderr


@pytest.mark.slow
def test_stop_and_clean_without_the_virtual_environment(command: Command, open_folder: Path) -> None:
    """Processes outlive .venv: it is made again, and they are stopped. `make clean` leaves neither."""
    copy = open_folder / "checkout"
    for name in ("operator", "crds", "config", "migrations", "examples", "hack", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    # A Python whose virtual environments have everything without being given it.
    venv = copy / ".venv"
    inner = f'case "$*" in *"-m pip"*) exit 0;; esac; exec {sys.executable} "$@"'
    clm = f'PYTHONPATH={copy / "operator"} exec {venv}/bin/python -P -m clm.cli.main "$@"'
    program(open_folder / "bin", "inner", inner)
    program(open_folder / "bin", "clm", clm)
    bin_ = venv / "bin"
    made = f"mkdir -p {bin_} && cd {open_folder}/bin && cp inner {bin_}/python && cp clm {bin_}/clm"
    outer = f'case "$*" in *"-m venv"*) {made}; exit;; esac; exec {sys.executable} "$@"'
    python = program(open_folder / "bin", "python", outer)
    choices = {"PYTHON": str(python), "CLM_DEV_STATE": str(command.state)}
    for target in ("stop", "clean"):
        command.succeed("up", "--detach")
        done = run("make", "-C", str(copy), target, **choices)
        assert done.returncode == 0, done.stderr
        assert command.running() == []
        assert command.state.exists() == venv.exists() == (target == "stop")
        shutil.rmtree(venv, ignore_errors=True)
    assert run("make", "-C", str(copy), "stop", **choices).returncode == 0
    assert not venv.exists(), "there is nothing to stop"
