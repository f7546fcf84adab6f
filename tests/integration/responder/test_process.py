"""The process: its settings, readiness, metrics, its one right to write, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from cryptography.x509 import ocsp
from psycopg import errors

from clm.dev.files import import_path
from tests.e2e.world import wait
from tests.integration.responder.authority import Authority
from tests.integration.responder.process import run_responder
from tests.integration.responder.test_ocsp import request_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_postgres import DatabasePair
    from tests.integration.responder.process import Responder


def test_metrics(responder: Responder, authority: Authority) -> None:
    """What was asked and answered is counted; what will expire tells when."""
    responder.ask("POST", "/ocsp", b"0")
    metrics = responder.metrics()
    assert metrics['clm_responder_requests_total{code="200",kind="ocsp"}'] >= 1
    assert metrics['clm_responder_ocsp_answers_total{result="malformed_request"}'] >= 1
    name = f'{{issuer="clm-system/{authority.key_id}"}}'
    assert (
        metrics[f"clm_responder_ocsp_not_after_timestamp_seconds{name}"]
        > metrics["clm_responder_heard_timestamp_seconds"]
    )
    assert "Traceback" not in responder.log


def test_readiness_waits_for_a_certificate(databases: DatabasePair, tmp_path: Path) -> None:
    """With a CA that wants OCSP a replica gets no requests before it can sign; and it ends when it is told to."""
    with psycopg.connect(databases.core, autocommit=True) as operator:
        authority = Authority(operator)
        authority.publish()
        starting = run_responder(tmp_path, databases.dsn("core", "clm_responder"), waits_for=authority.certify)
        responder = next(starting)
        assert f"OCSP answers for clm-system/{authority.key_id} are signed" in responder.log
        assert responder.stop() == 0
        assert "Traceback" not in responder.log
        starting.close()


def test_a_start_without_the_database(databases: DatabasePair, tmp_path: Path) -> None:
    """It is waited for, and says what is waited for."""
    dsn = psycopg.conninfo.make_conninfo(databases.dsn("core", "clm_responder"), port=1)
    starting = run_responder(tmp_path, dsn, until_ready=False)
    responder = next(starting)

    def look() -> bool | None:
        try:
            return True if responder.readiness().body == b"waiting for clm_core_db\n" else None
        except OSError:
            return None

    wait(look, "the responder to say what it waits for")
    stranger = Authority(None)  # type: ignore[arg-type]  # it has nothing to write
    request = request_for(stranger, stranger.certificate)
    answer = ocsp.load_der_ocsp_response(responder.ask("POST", "/ocsp", request).body)
    assert answer.response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert responder.ask("GET", "/crl/x.crl").status == 503, "what is there is not known yet"
    assert responder.stop() == 0
    assert "Traceback" not in responder.log
    starting.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "CLM_CORE_DSN: is not set"),
        ({"CLM_CORE_DSN": "host=db.example.com"}, "CLM_CORE_DSN: must have sslmode=verify-full"),
        ({"CLM_CORE_DSN": "dbname=x", "CLM_OCSP_LIFETIME_S": "1"}, "CLM_OCSP_LIFETIME_S: must be"),
        ({"CLM_CORE_DSN": "dbname=x", "CLM_RESPONDER_CONNECTIONS": "0"}, "CLM_RESPONDER_CONNECTIONS: must be"),
        ({"CLM_CORE_DSN": "dbname=x", "CLM_RESPONDER_HOST": "192.0.2.1"}, "cannot listen"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, str], said: str) -> None:
    """Are told by name, and end it."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": import_path(), **settings}
    command = [sys.executable, "-P", "-m", "clm.cli.main", "responder"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clm_status.ocsp_responders SET refused_reason = 'x'",
        "DELETE FROM clm_status.revocations",
        "DELETE FROM clm_status.ocsp_responders",
        "INSERT INTO clm_status.crls DEFAULT VALUES",
        "SELECT common_name FROM certificate_metadata",
        "SELECT 1 FROM audit_log",
    ],
)
def test_what_its_user_may_not(published: DatabasePair, statement: str) -> None:
    """It asks for certificates, and changes nothing else; whose certificates there are it does not learn."""
    with psycopg.connect(published.dsn("core", "clm_responder")) as connection:
        connection.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.encode())
