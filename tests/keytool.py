"""Keystores as Java's keytool and OpenSSL read them: they share no code with what writes them.

keytool opens a keystore as every Java program does. A private key is shown by having Java move it into a PKCS#12 file
of its own, which OpenSSL then opens.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

_MISSING = "Java's keytool is missing: apt-get install default-jre-headless (hack/setup --for-tests does)"
_PEM = re.compile(rb"-----BEGIN (?P<what>[A-Z ]+)-----.*?-----END (?P=what)-----\n?", re.DOTALL)
_TRUSTED = "trustedCertEntry"


class Entry(NamedTuple):
    """One entry of a keystore: whether it is a trusted certificate, and its certificates in PEM, leaf first."""

    trusted: bool
    certificates: tuple[bytes, ...]


class Refused(AssertionError):
    """keytool or OpenSSL will not open the file."""


def entries(keystore: bytes, password: str) -> dict[str, Entry]:
    """List a keystore by alias, with Java. Raises Refused, for a wrong password too."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keystore")
        file.write_bytes(keystore)
        listed = _keytool(folder, "-list", "-rfc", "-keystore", file, "-storepass", password)
    found = {}
    for part in listed.split("Alias name: ")[1:]:
        certificates = tuple(match[0].encode() for match in re.finditer(_PEM.pattern.decode(), part, re.DOTALL))
        found[part.splitlines()[0]] = Entry(f"Entry type: {_TRUSTED}" in part, certificates)
    return found


def private_key(keystore: bytes, password: str, *, alias: str) -> bytes:
    """Have Java take a private key out of a keystore; give it in PEM."""
    with tempfile.TemporaryDirectory() as folder:
        source, moved = Path(folder, "keystore"), Path(folder, "moved.p12")
        source.write_bytes(keystore)
        where = ["-srckeystore", str(source), "-srcstorepass", password, "-srcalias", alias]
        _keytool(folder, "-importkeystore", *where, "-destkeystore", moved, "-deststorepass", "changeit")
        return pkcs12(moved.read_bytes(), "changeit", "-nocerts")


def pkcs12(keystore: bytes, password: str, *options: str) -> bytes:
    """Have OpenSSL open a PKCS#12 file, and give what it prints in PEM. Raises Refused."""
    command = ["openssl", "pkcs12", "-passin", f"pass:{password}", "-noenc", *options]
    done = subprocess.run(command, input=keystore, capture_output=True, timeout=20, check=False)
    if done.returncode:
        raise Refused(done.stderr.decode(errors="replace"))
    return b"".join(match[0] for match in _PEM.finditer(done.stdout))


def _keytool(folder: str, *arguments: str | Path) -> str:
    program = shutil.which("keytool")
    assert program is not None, _MISSING
    command = [program, "-J-Duser.language=en", f"-J-Djava.io.tmpdir={folder}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout
