"""Kubeconfig files with the credentials inside, so that one file is all that a client needs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

from clm.dev.state import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from clm.dev.identities import Identity

_NAME = "clm-dev"


def write_kubeconfig(path: Path, *, server: str, ca: Path, client: Identity | str) -> None:
    """Write a kubeconfig for one client: its certificate, or its bearer token."""
    cluster = {"server": server, "certificate-authority-data": _encode(ca)}
    if isinstance(client, str):
        user = {"token": client}
    else:
        user = {"client-certificate-data": _encode(client.certificate), "client-key-data": _encode(client.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": user}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "current-context": _NAME,
    }
    write_private(path, yaml.safe_dump(document))


def _encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
