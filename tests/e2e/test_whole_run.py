"""What holds at the end of a whole run: what fell due was renewed, and the log is clean. Comes last, by its name."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from clm.cluster.client import _error
from clm.pki.tbs import BACKDATE
from tests.e2e import openssl
from tests.e2e.manifests import CA_NAMESPACE, certificate
from tests.e2e.world import data_of, wait

if TYPE_CHECKING:
    from tests.e2e.api import Manifest
    from tests.e2e.world import World

# What the authorizer says, and the operator's client where the server said nothing. A quota or a policy forbids, too,
# and a bare 403 may be a millisecond.
_FORBIDDEN = re.compile(r'User "[^"]*" cannot |\S: 403\b(?! )')


def _issued(body: Manifest) -> datetime:
    return datetime.fromisoformat(body["status"]["notBefore"]) + BACKDATE


def test_what_falls_due_is_renewed(world: World, due_soon: Manifest) -> None:
    """At its renewal time, and not before, a certificate is replaced by one with a new key, without anybody asking."""
    due = datetime.fromisoformat(due_soon["status"]["renewalTime"])
    assert due == _issued(due_soon) + timedelta(minutes=1)

    def look() -> Manifest | None:
        body = world.certificate(CA_NAMESPACE, "due-soon")
        return body if body["status"]["revision"] > 1 else None

    wait(look, "revision 2", timeout_s=75)
    rows = world.settled(due_soon)
    assert rows[0]["state"] == "superseded"
    assert rows[0]["private_key_id"] != rows[1]["private_key_id"]
    body = world.wait_ready(CA_NAMESPACE, "due-soon")
    # A long run may see the second one fall due as well.
    assert _issued(body) >= due + timedelta(minutes=body["status"]["revision"] - 2)
    data = world.secret(CA_NAMESPACE, "due-soon-tls")
    openssl.verify(data)
    openssl.key_fits(data)


def test_what_is_forbidden_is_recognized() -> None:
    """By what the operator's client says of it, with or without words from the server; and nothing else is."""
    for answer in (b"", b'{"message": "secrets is forbidden: User \\"clm\\" cannot list resource"}'):
        assert _FORBIDDEN.search(f"2026-01-02 03:04:05,678 INFO clm: {_error('GET', '/api/v1/secrets', 403, answer)}")
    quota = _error("POST", "/api/v1/secrets", 403, b'{"message": "secrets \\"web\\" is forbidden: exceeded quota"}')
    for other in ("2026-01-02 03:04:05,403 INFO clm.controllers.run: the controller is ready", str(quota)):
        assert not _FORBIDDEN.search(other)


def test_rights_suffice(world: World) -> None:
    """With the rights of config/rbac.yaml, and no others, nothing that the operator tries is forbidden."""
    assert world.settings["KUBECONFIG"].endswith("/controller.kubeconfig")
    assert [line for line in world.log_with_rights.splitlines() if _FORBIDDEN.search(line)] == []


def test_no_defect_in_the_log(world: World) -> None:
    """No part of operator and responder has met what it did not expect."""
    assert "the controller is ready" in world.log
    said = world.log + world.environment.processes.log("clm-responder").read_text(encoding="utf-8")
    assert [line for line in said.splitlines() if "Traceback" in line or "a defect in CLM" in line] == []


def test_no_secret_in_the_log(world: World, namespace: str) -> None:
    """No private key, PIN or password has reached the operator's log."""
    world.apply(certificate(namespace, "web"))
    world.wait_ready(namespace, "web")
    pin = Path(world.settings["CLM_TOKEN_PIN_FILE"]).read_text(encoding="utf-8").strip()
    passwords = [
        line.rpartition(":")[2]
        for name in ("CLM_SECURE_DSN", "CLM_CORE_DSN")
        for file in re.findall(r"passfile='?([^'\s]+)", world.settings[name])
        for line in Path(file).read_text(encoding="utf-8").splitlines()
    ]
    assert len(pin) >= 8
    assert len(passwords) >= 2
    secrets = [data_of(secret) for secret in world.api.items("/api/v1/secrets")]
    keys = [line for data in secrets for line in data.get("tls.key", b"").decode().splitlines() if len(line) > 40]
    assert keys
    # A line of a PEM file may stand in a log by itself or with its line ends written as \n: it is looked for alone.
    log = world.log
    assert [secret for secret in (pin, *passwords, *keys) if secret in log] == []
