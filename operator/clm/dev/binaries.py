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

    What setup-envtest puts there lacks the controller manager: single programs that are missing come from the cache.
    Raises StartFailed, which tells what to do.
    """
    assets = environment.get("KUBEBUILDER_ASSETS")
    given = _programs(Path(assets)) if assets else {}
    for cached in ({}, *map(_programs, _cached(environment))):
        found = {**cached, **given}
        if len(found) == len(_PROGRAMS):
            return ControlPlaneBinaries(*(found[program] for program in _PROGRAMS))
    if assets:
        missing = ", ".join(program for program in _PROGRAMS if program not in given)
        raise StartFailed(
            f"KUBEBUILDER_ASSETS={assets} lacks {missing}: run hack/build-controlplane, which builds that"
        )
    raise StartFailed("the control plane is not built: run hack/build-controlplane, or set KUBEBUILDER_ASSETS")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Folder that hack/build-controlplane fills, a subfolder for each version and platform."""
    cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "clm" / "controlplane"


def _programs(folder: Path) -> dict[str, Path]:
    return {program: folder / program for program in _PROGRAMS if os.access(folder / program, os.X_OK)}


def _cached(environment: Mapping[str, str]) -> list[Path]:
    folder = cache_folder(environment)
    if not folder.is_dir():
        return []
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
