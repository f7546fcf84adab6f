"""Certificates as Go's crypto/x509 and zlint see them: a second opinion that shares no code with CLM."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from datetime import datetime

_MODULE = Path(__file__).resolve().parents[1] / "hack" / "x509"


@dataclass(frozen=True, slots=True)
class GoX509:
    """The program of hack/x509. Every method takes PEM and fails the test when the program refuses it."""

    program: Path

    def read(self, pem: bytes) -> list[dict[str, Any]]:
        """Read certificates by crypto/x509; the fields are those of hack/x509/read.go."""
        return self._listed("read", pem)

    def crl(self, pem: bytes) -> list[dict[str, Any]]:
        """Read CRLs by crypto/x509."""
        return self._listed("crl", pem)

    def lint(self, pem: bytes) -> list[list[dict[str, str]]]:
        """Lint certificates and CRLs by zlint: the findings of each, in their order."""
        return self._listed("lint", pem)

    def verify(self, chain: bytes, roots: bytes, *, name: str = "", at: datetime | None = None) -> list[list[str]]:
        """Have Go verify the first certificate of a bundle, for a host if one is named; give the chains it found."""
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "chain.pem"), Path(folder, "roots.pem")
            for file, pem in zip(files, (chain, roots), strict=True):
                file.write_bytes(pem)
            moment = ["-at", at.isoformat()] if at is not None else []
            options = ["-chain", str(files[0]), "-roots", str(files[1]), "-name", name, *moment]
            return self._run("verify", *options)  # type: ignore[no-any-return]  # JSON

    def _listed(self, command: str, pem: bytes) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "input.pem")
            file.write_bytes(pem)
            return list(self._run(command, str(file)))

    def _run(self, *arguments: str) -> Any:
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def go_x509() -> GoX509:
    """The program as its sources are now; without it the tests fail rather than prove nothing."""
    sources = hashlib.sha256()
    for path in (_MODULE / "go.mod", _MODULE / "go.sum", *sorted(_MODULE.glob("*.go"))):
        sources.update(path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    program = Path(cache, "clm", "x509", sources.hexdigest()[:16], "clm-x509")
    if not os.access(program, os.X_OK):
        pytest.fail("clm-x509 is not built: run hack/build-x509")
    return GoX509(program)
