"""What `make run` shows in the end, also when people have begun to play with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.dev.demonstration import example_certificates
from clm.dev.kubectl import find_kubectl
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import World


@pytest.fixture
def examples(world: World) -> Iterator[None]:
    """Have the examples' Certificates gone in the end; what else the examples make disturbs nobody."""
    yield
    for namespace, name in example_certificates():
        if world.api.get("Certificate", namespace, name) is not None:
            world.api.delete("Certificate", namespace, name)


def _demo(world: World, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**world.program_environment(), "CLM_DEV_STATE": str(world.environment.state.root), **more}
    command = [sys.executable, "-m", "clm.cli.main", "dev", "demo", "--timeout", "60"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.usefixtures("examples")
def test_refused_certificate_does_not_hold_it_up(world: World, namespace: str) -> None:
    """After the tutorial, which ends with a refused Certificate, it still succeeds, and shows why that one is refused.

    The examples are the ones that it waits for; all the others are shown as they are.
    """
    world.apply(certificate(namespace, "checkout", policyRef={"name": "internal-tls"}))
    world.apply(certificate(namespace, "mine"))
    world.wait_ready(namespace, "mine")
    done = _demo(world)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {("clm-system", "root-ca"), ("clm-system", "issuing-ca"), ("shop", "web")} < example_certificates()
    for where, name in (*example_certificates(), (namespace, "mine")):
        assert re.search(rf"^ *{where} +{name} +yes .* verified *$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(rf"^ *{namespace} +checkout +no ", done.stdout, re.MULTILINE)
    assert f"{namespace}/checkout: PolicyViolation: Policy internal-tls: " in done.stdout


@pytest.mark.usefixtures("examples")
def test_status_of_a_certificate_is_asked_for(world: World, tmp_path: Path) -> None:
    """The commands that ask the responder can be pasted as they are: openssl verifies the answer."""
    done = _demo(world)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = [line.strip() for line in done.stdout.partition("Try next")[2].splitlines()]
    asked = [line for line in commands if "chain.pem" in line]
    assert len(asked) == 2
    folder = Path(find_kubectl(os.environ, "").program).parent
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": str(world.kubeconfig)}

    def look() -> str | None:
        said = subprocess.run(
            ["bash", "-c", "\n".join(asked)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return said.stdout + said.stderr if ": good" in said.stdout else None

    # The CA has just been made: the responder learns of it within a second, and has its key certified.
    assert "Response verify OK" in wait(look, "the answer")


@pytest.mark.usefixtures("examples")
def test_commands_work_where_kubectl_is_only_in_the_cache(world: World, tmp_path: Path) -> None:
    """Where kubectl is not in PATH, the first command to try puts the one that was built there."""
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    built = cache / "clm" / "controlplane" / "some-version"
    for folder in (programs, built):
        folder.mkdir(parents=True)
    (built / "kubectl").symlink_to(find_kubectl(os.environ, "").program)
    (programs / "openssl").symlink_to(str(shutil.which("openssl")))
    done = _demo(world, PATH=str(programs), XDG_CACHE_HOME=str(cache))
    assert done.returncode == 0, done.stdout + done.stderr
    commands = [line.strip() for line in done.stdout.partition("Try next")[2].splitlines()]
    assert commands[1] == f'export PATH="{built}:$PATH"'
    assert "kubectl get clmcert -A -o wide" in commands
