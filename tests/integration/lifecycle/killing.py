"""Runs `cut_short` until it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.world import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.lifecycle.parts import Site


def kill_at(site: Site, act: str, object_id: object, boundary: str) -> None:
    """Begin an act in a process of its own, which SIGKILL ends at that boundary."""
    store = site.store
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY / 'operator'}{os.pathsep}{REPOSITORY}",
        "CLM_SECURE_DSN": site.databases.secure,
        "CLM_CORE_DSN": site.databases.core,
        "CLM_PKCS11_MODULE": store.module_path,
        "CLM_TOKEN_LABEL": store.label,
        "CLM_TOKEN_SERIAL": store.serial,
        "CLM_TOKEN_PIN_FILE": str(store.pin_file),
    }
    command = [sys.executable, "-m", "tests.integration.lifecycle.cut_short", act, str(object_id), boundary]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
