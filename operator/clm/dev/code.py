"""What code this is, so that a process that was started from older code can be told from one of this code."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from clm.dev.files import shipped_folder

_PACKAGE = Path(__file__).parents[1]


@cache
def code_identity() -> str:
    """Hash this package, the definitions and migrations that it goes with, and the versions of what it runs on."""
    digest = hashlib.sha256()
    for folder in (_PACKAGE, shipped_folder("crds"), shipped_folder("migrations")):
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    installed = sorted({f"{found.name} {found.version}" for found in distributions()})
    digest.update("\n".join([sys.version, *installed]).encode())
    return digest.hexdigest()
