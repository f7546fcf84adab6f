"""The repository's folders that `clm dev` applies: inside an installed package, else beside it in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from clm.errors import StartFailed

_PACKAGE = Path(__file__).parents[1]


def shipped_folder(name: str) -> Path:
    """Find "crds", "config", "migrations" or "examples". Raises StartFailed when the installation lacks it."""
    candidates = (_PACKAGE / f"_{name}", _PACKAGE.parents[1] / name)
    found = next((path for path in candidates if path.is_dir()), None)
    if found is None:
        raise StartFailed(f"this installation of CLM lacks the folder {name}")
    return found


def import_path() -> str:
    """Value of PYTHONPATH by which a process of another working directory imports this package and what it needs."""
    inherited = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join(dict.fromkeys([str(_PACKAGE.parent), *inherited]))
