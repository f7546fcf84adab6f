"""The examples, applied and awaited, and their chains verified by a program that is not CLM."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clm.dev.files import shipped_folder
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from clm.dev.kubectl import Kubectl

_POLL_S = 0.5
_OPENSSL_TIMEOUT_S = 20
_CERTIFICATES = ("certificates.clm-operator.io", "--all-namespaces")
_END = "-----END CERTIFICATE-----"

Name = tuple[str, str]
"""Namespace and name of a Certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown of one Certificate.

    `why` is the Ready condition's reason and message. `chain` is None when openssl is not installed, or when there is
    no certificate to verify because the object is not Ready.
    """

    namespace: str
    name: str
    ready: bool
    why: str
    issuer: str
    serial: str
    not_after: str
    secret: str
    chain: str | None


def apply_examples(kubectl: Kubectl, *, publish: bool) -> str:
    """Apply the examples' folder; return what kubectl says. Raises StartFailed.

    Where nobody serves CRLs and OCSP (not `publish`), the CAs are applied without them.
    """
    if publish:
        return kubectl.run("apply", "-f", str(shipped_folder("examples")))
    manifests = _manifests()
    for manifest in manifests:
        if manifest["kind"] == "Certificate":
            manifest["spec"].pop("authority", None)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump_all(manifests, file)
        file.flush()
        return kubectl.run("apply", "-f", file.name)


def example_certificates() -> frozenset[Name]:
    """Name the Certificates of the examples' folder. Raises StartFailed when the installation lacks it."""
    return frozenset(_name(manifest) for manifest in _manifests() if manifest["kind"] == "Certificate")


def await_ready(
    kubectl: Kubectl, wanted: Collection[Name], *, timeout_s: float, progress: Callable[[int, int], None]
) -> None:
    """Wait until these Certificates are Ready for their present generation; whatever else there is may be refused.

    Raises StartFailed, which names those that are not.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = {_name(item): _ready(item) for item in kubectl.items(*_CERTIFICATES)}
        waiting = {name: found.get(name) for name in sorted(wanted) if not found.get(name, {}).get("ready")}
        progress(len(wanted) - len(waiting), len(wanted))
        if not waiting:
            return
        if time.monotonic() > deadline:
            names = "".join(
                f"\n  {'/'.join(name)}: {(ready['why'] or 'no status') if ready else 'does not exist'}"
                for name, ready in waiting.items()
            )
            raise StartFailed(f"not Ready after {timeout_s:.0f} s:{names}")
        time.sleep(_POLL_S)


def collect(kubectl: Kubectl) -> list[Shown]:
    """Read every Certificate and verify the chain in its Secret. Raises StartFailed."""
    secrets = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item.get("data", {})
        for item in kubectl.items("secrets", "--all-namespaces")
    }
    shown = []
    for item in kubectl.items(*_CERTIFICATES):
        namespace, secret = item["metadata"]["namespace"], item["spec"]["secretName"]
        data = secrets.get((namespace, secret), {})
        leaf, ready = _decoded(data, "tls.crt"), _ready(item)
        shown.append(
            Shown(
                namespace=namespace,
                name=item["metadata"]["name"],
                **ready,
                issuer=_openssl_field(leaf, "-issuer") or "-",
                serial=item.get("status", {}).get("serialNumber", "-"),
                not_after=item.get("status", {}).get("notAfter", "-"),
                secret=secret,
                chain=_verify(leaf, _decoded(data, "ca.crt")) if leaf or ready["ready"] else None,
            )
        )
    return shown


def _manifests() -> list[dict[str, Any]]:
    return [
        manifest
        for file in sorted(shipped_folder("examples").glob("*.yaml"))
        for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if manifest
    ]


def _name(item: dict[str, Any]) -> Name:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _ready(item: dict[str, Any]) -> dict[str, Any]:
    conditions = item.get("status", {}).get("conditions", [])
    condition: dict[str, str] = next((entry for entry in conditions if entry["type"] == "Ready"), {})
    current = item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
    why = ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
    return {"ready": current and condition.get("status") == "True", "why": why}


def _decoded(data: dict[str, str], key: str) -> str:
    return base64.b64decode(data.get(key, "")).decode("ascii", "replace")


def _openssl_field(pem: str, field: str) -> str | None:
    """Name of the issuer, by openssl."""
    if not pem or shutil.which("openssl") is None:
        return None
    options = ["-noout", field, "-nameopt", "sep_comma_plus_space,dn_rev,utf8"]
    done = _openssl(["x509", *options], pem)
    names = done.stdout.strip().partition("=")[2].split(", ")
    return next((part.removeprefix("CN=") for part in names if part.startswith("CN=")), ", ".join(names))


def _verify(chain: str, roots: str) -> str | None:
    """Verify a chain with openssl: "verified" or what is wrong; None when it cannot be tried."""
    if shutil.which("openssl") is None:
        return None
    if not chain or not roots:
        return "tls.crt or ca.crt is missing"
    with tempfile.TemporaryDirectory() as folder:
        leaf, _, rest = chain.partition(_END)
        files = {"leaf.pem": f"{leaf}{_END}\n", "untrusted.pem": rest.strip() or f"{leaf}{_END}", "roots.pem": roots}
        for name, text in files.items():
            Path(folder, name).write_text(f"{text}\n", encoding="ascii")
        trust = ["-CAfile", f"{folder}/roots.pem", "-untrusted", f"{folder}/untrusted.pem"]
        done = _openssl(["verify", "-x509_strict", *trust, f"{folder}/leaf.pem"], "")
    if done.returncode == 0:
        return "verified"
    return next((line.strip() for line in done.stderr.splitlines() if line.startswith("error ")), done.stderr.strip())


def _openssl(arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_OPENSSL_TIMEOUT_S, check=False)
