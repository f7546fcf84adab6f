"""How the API server is reached: what cannot be read is said with what to do, by every command that needs it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from clm.cluster.session import load_credentials
from clm.errors import InvalidSetting

if TYPE_CHECKING:
    from pathlib import Path

_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1/"}}],
    "users": [{"name": "a", "user": {"token": "t"}}],
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "current-context": "a",
}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have no kubeconfig anywhere, and no pod around."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _server(path: str | None = None) -> str:
    return asyncio.run(load_credentials(path)).server


def test_reads_the_kubeconfig(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, by $KUBECONFIG, and where kubectl looks."""
    file = nowhere / ".kube" / "config"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(_KUBECONFIG))
    assert _server() == "https://127.0.0.1:1"
    other = file.rename(nowhere / "other")
    assert _server(str(other)) == "https://127.0.0.1:1"
    monkeypatch.setenv("KUBECONFIG", str(other))
    assert _server() == "https://127.0.0.1:1"


@pytest.mark.usefixtures("nowhere")
def test_none_at_all() -> None:
    """Says what to set."""
    with pytest.raises(InvalidSetting, match="set it to a kubeconfig file, or run in a pod") as caught:
        _server()
    assert caught.value.field == "KUBECONFIG"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "]",
        "[]",
        "1",
        "a: b",
        yaml.safe_dump({**_KUBECONFIG, "current-context": "b"}),
        yaml.safe_dump({**_KUBECONFIG, "clusters": None}),
        yaml.safe_dump({**_KUBECONFIG, "clusters": [{"name": "a", "cluster": {"server": 1}}]}),
        yaml.safe_dump(
            {
                **_KUBECONFIG,
                "clusters": [
                    {"name": "a", "cluster": {"server": "https://a", "certificate-authority-data": "bm90IGEgY2VydA=="}}
                ],
            }
        ),
        yaml.safe_dump({**_KUBECONFIG, "users": [{"name": "a", "user": {"client-certificate": "/none"}}]}),
    ],
)
def test_one_that_cannot_be_used(nowhere: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Missing, empty or garbage: names the file."""
    file = nowhere / "kubeconfig"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(InvalidSetting, match=f"KUBECONFIG: {file} cannot be used: "):
        _server()


@pytest.mark.parametrize("command", ["check", "controller"])
def test_commands_say_so(nowhere: Path, command: str) -> None:
    """One line for a person, no trace."""
    (nowhere / "pin").write_text("1234")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(nowhere),
        "PYTHONPATH": ":".join(sys.path),
        "KUBECONFIG": str(nowhere / "none"),
        "CLM_SECURE_DSN": "postgresql://a@127.0.0.1:1/clm_secure_db",
        "CLM_CORE_DSN": "postgresql://a@127.0.0.1:1/clm_core_db",
        "CLM_PKCS11_MODULE": "/none.so",
        "CLM_TOKEN_LABEL": "clm",
        "CLM_TOKEN_PIN_FILE": str(nowhere / "pin"),
        "CLM_CLUSTER_ID": "6f1c1f2e-6c39-4a63-9d8c-1f1f0a3b9b11",
    }
    done = subprocess.run(
        [sys.executable, "-m", "clm.cli.main", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"KUBECONFIG: {nowhere / 'none'} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
