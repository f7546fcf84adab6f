"""Certificates as OpenSSL sees them: a second opinion that shares no code with CLM."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_EXTENSION = re.compile(r"^ {12}X509v3 (?P<name>[^:]+):.*\n(?P<value>(?: {16}.*\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Printed:
    """One certificate as `openssl x509 -text` prints it."""

    text: str
    subject: str
    issuer: str
    serial: str
    lifetime: timedelta
    not_after: datetime
    extensions: dict[str, str]

    @property
    def names(self) -> set[str]:
        """Subject alternative names as OpenSSL writes them: "DNS:a.example.com" and so on."""
        return self._listed("Subject Alternative Name")

    @property
    def usages(self) -> set[str]:
        """Key usages and extended key usages, by OpenSSL's names."""
        return self._listed("Key Usage") | self._listed("Extended Key Usage")

    def _listed(self, extension: str) -> set[str]:
        return set(filter(None, self.extensions.get(extension, "").split(", ")))


def split(pem: bytes) -> list[bytes]:
    """Take a PEM bundle apart."""
    return _PEM.findall(pem)


def show(pem: bytes) -> Printed:
    """Have OpenSSL print the first certificate of a bundle."""
    text = _run(["x509", "-noout", "-text", "-nameopt", "RFC2253,utf8,-esc_msb"], pem)
    subject, issuer = (
        _run(["x509", "-noout", field, "-nameopt", "RFC2253,utf8,-esc_msb"], pem).strip().partition("=")[2]
        for field in ("-subject", "-issuer")
    )
    dates = _run(["x509", "-noout", "-dates", "-dateopt", "iso_8601"], pem)
    begin, end = (datetime.fromisoformat(line.partition("=")[2]) for line in dates.splitlines())
    serial = _run(["x509", "-noout", "-serial"], pem).strip().partition("=")[2].lower()
    extensions = {f"{match['name']}": match["value"].strip() for match in _EXTENSION.finditer(text)}
    # Both ends belong to the validity (RFC 5280 4.1.2.5).
    return Printed(text, subject, issuer, serial, end - begin + timedelta(seconds=1), end, extensions)


def verify(secret: dict[str, bytes], *, purpose: str = "any") -> None:
    """Verify the chain in a Secret strictly: the root is `ca.crt`, everything between is in `tls.crt`."""
    leaf, *between = split(secret["tls.crt"])
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("leaf", "between", "root")}
        files["leaf"].write_bytes(leaf)
        files["between"].write_bytes(b"".join(between))
        files["root"].write_bytes(secret["ca.crt"])
        untrusted = ["-untrusted", str(files["between"])] if between else []
        options = ["-x509_strict", "-purpose", purpose, "-no-CApath", "-no-CAstore", "-CAfile", str(files["root"])]
        _run(["verify", *options, *untrusted, str(files["leaf"])])


def key_fits(secret: dict[str, bytes]) -> None:
    """Hold the private key against the certificate: both have the same public key."""
    of_certificate = _run(["x509", "-noout", "-pubkey"], secret["tls.crt"])
    assert _run(["pkey", "-pubout"], secret["tls.key"]) == of_certificate


def _run(arguments: list[str], standard_input: bytes = b"") -> str:
    done = subprocess.run(["openssl", *arguments], input=standard_input, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    return done.stdout.decode()
