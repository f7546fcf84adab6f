"""kubectl, as a person would use it: for the demonstration only."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clm.dev.binaries import cache_folder
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One kubectl with one kubeconfig."""

    program: str
    kubeconfig: str

    def run(self, *arguments: str) -> str:
        """Run a command and return its output. Raises StartFailed with what kubectl says."""
        command = [self.program, f"--kubeconfig={self.kubeconfig}", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StartFailed(f"kubectl {arguments[0]}: {error}") from None
        if done.returncode != 0:
            raise StartFailed(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Get a list of objects."""
        return list(json.loads(self.run("get", *arguments, "-o", "json"))["items"])


def find_kubectl(environment: Mapping[str, str], kubeconfig: str) -> Kubectl:
    """Find kubectl in PATH, or the one that was built with the control plane. Raises StartFailed."""
    found = shutil.which("kubectl", path=environment.get("PATH"))
    if found is None:
        assets = environment.get("KUBEBUILDER_ASSETS")
        folders = [*([Path(assets)] if assets else []), *sorted(cache_folder(environment).glob("*"))]
        found = next((str(folder / "kubectl") for folder in folders if (folder / "kubectl").is_file()), None)
    if found is None:
        raise StartFailed("kubectl is not installed; hack/build-controlplane builds it")
    return Kubectl(found, kubeconfig)
