"""Where the control plane's programs are: built once from hack/controlplane into the user's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")


@dataclass(frozen=True, slots=True)
class ControlPlaneBinaries:
    """Paths of the three programs."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path


def find_binaries(environment: Mapping[str, str]) -> ControlPlaneBinaries:
    """Look into ``$KUBEBUILDER_ASSETS`` if it is set, else into the cache, newest first.

    Raises StartFailed, which tells what to do.
    """
    assets = environment.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets)] if assets else _cached(environment)
    for folder in folders:
        paths = [folder / program for program in _PROGRAMS]
        if all(os.access(path, os.X_OK) for path in paths):
            return ControlPlaneBinaries(*paths)
    if assets:
        raise StartFailed(f"KUBEBUILDER_ASSETS={assets} does not hold {', '.join(_PROGRAMS)}")
    raise StartFailed("the control plane is not built: run hack/build-controlplane, or set KUBEBUILDER_ASSETS")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Folder that hack/build-controlplane fills, a subfolder for each version and platform."""
    cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "clm" / "controlplane"


def _cached(environment: Mapping[str, str]) -> list[Path]:
    folder = cache_folder(environment)
    if not folder.is_dir():
        return []
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
