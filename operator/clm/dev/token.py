"""The environment's token: SoftHSM in a private folder, provisioned once.

It is provisioned by a process of its own: the module keeps the configuration that it was first initialized with, and
this process may have loaded it for another environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clm.dev.files import import_path
from clm.dev.state import write_private
from clm.errors import ClmError, StartFailed
from clm.hsm.provision import provision, write_softhsm_config

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "clm-dev"

_TIMEOUT_S = 60
_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
_PATTERNS = ("softhsm/libsofthsm2.so", "*/softhsm/libsofthsm2.so", "pkcs11/libsofthsm2.so", "libsofthsm2.so")


@dataclass(frozen=True, slots=True)
class DevToken:
    """A provisioned token. The PIN is in `pin_file`, mode 0600."""

    module: Path
    configuration: Path
    label: str
    serial: str
    pin_file: Path


def find_module(environment: Mapping[str, str]) -> Path:
    """Find the SoftHSM module: ``$CLM_PKCS11_MODULE``, else where distributions put it. Raises StartFailed."""
    chosen = environment.get("CLM_PKCS11_MODULE")
    if chosen:
        if Path(chosen).is_file():
            return Path(chosen)
        raise StartFailed(f"CLM_PKCS11_MODULE={chosen} is no file")
    for folder in map(Path, _FOLDERS):
        for pattern in _PATTERNS:
            found = sorted(folder.glob(pattern))
            if found:
                return found[0]
    raise StartFailed("SoftHSM is not installed: install the package softhsm2, or set CLM_PKCS11_MODULE")


def prepare_token(folder: Path, module: Path) -> DevToken:
    """Provision the token unless that is done. Blocking. Raises StartFailed.

    A token that was provisioned and is gone is an error here and not a reason to make another: the databases hold keys
    that only the first one opens.
    """
    record, configuration = folder / "token.json", write_softhsm_config(folder)
    if record.exists():
        if not any((folder / "tokens").iterdir()):
            raise StartFailed(f"the token in {folder} is gone; restore it, or start afresh: clm dev down --delete")
        known = json.loads(record.read_text(encoding="utf-8"))
        return DevToken(module, configuration, LABEL, known["serial"], Path(known["pin_file"]))
    environment = {**os.environ, "SOFTHSM2_CONF": str(configuration), "PYTHONPATH": import_path()}
    command = [sys.executable, "-P", "-m", __name__, str(module), str(folder)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StartFailed(f"the token is not provisioned after {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise StartFailed(f"the token cannot be provisioned: {done.stderr.strip().rpartition(chr(10))[2]}")
    write_private(record, done.stdout)
    known = json.loads(done.stdout)
    return DevToken(module, configuration, LABEL, known["serial"], Path(known["pin_file"]))


def _main(module: str, folder: str) -> int:
    """Provision in this process; the record goes to standard output, what went wrong to standard error."""
    try:
        made = provision(module_path=module, label=LABEL, directory=Path(folder))
    except ClmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump({"serial": made.serial, "pin_file": str(made.pin_file)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
