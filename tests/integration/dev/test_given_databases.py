"""`clm dev up` with DSNs: databases that somebody else runs are migrated and used, and none is started beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clm.dev.given import without_secrets
from clm.dev.postgres_access import MIGRATOR, OPERATORS, RESPONDER
from clm.dev.postgres_users import provision
from tests.fix_postgres import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_postgres import Server
    from tests.integration.dev.command import Command

pytestmark = pytest.mark.slow


@pytest.fixture
def given(postgres_server: Server) -> Iterator[dict[str, str]]:
    """DSNs of two databases with users and nothing else, passwords inside, by the variables that they are given in."""
    variables = {}
    with postgres_server.database() as secure, postgres_server.database() as core:
        for name, database in zip(NAMES, (secure, core), strict=True):
            provision(postgres_server.cluster, database)
            users = {f"CLM_{name}_DSN": OPERATORS[name], f"CLM_{name}_MIGRATOR_DSN": MIGRATOR}
            users |= {"CLM_CORE_RESPONDER_DSN": RESPONDER} if name == "core" else {}
            for variable, user in users.items():
                password, _ = postgres_server.cluster.access.password(user)
                dsn = postgres_server.cluster.dsn(database, user)
                variables[variable.upper()] = make_conninfo(dsn, passfile="/dev/null", password=password)
        yield variables


def test_they_are_used_and_nothing_is_started_for_them(command: Command, given: dict[str, str]) -> None:
    """Migrated by the one user, used by the other, shown without a password; and kept when nothing is said of them."""
    responders = {"CLM_CORE_RESPONDER_DSN": given.pop("CLM_CORE_RESPONDER_DSN")}
    operators = {name: dsn for name, dsn in given.items() if "MIGRATOR" not in name}
    refused = command.run("up", "--detach", **operators)
    assert refused.returncode == 1
    assert "CLM_SECURE_MIGRATOR_DSN" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert command.running() == []

    command.succeed("up", "--detach", **given)
    assert not any((command.state / "postgres").iterdir())
    status = command.status()
    assert status["ready"]
    assert status["databases"] == {}
    assert status["responder"] is None, "nobody has said how it gets into clm_core_db"
    for name in NAMES:
        wanted, shown = conninfo_to_dict(given[f"CLM_{name.upper()}_DSN"]), conninfo_to_dict(status[f"{name}_dsn"])
        assert shown == {key: value for key, value in wanted.items() if key != "password"}
    said = command.run("status").stdout + command.run("status", "-o", "json").stdout
    operator = command.operator()
    environment = Path(f"/proc/{operator}/environ").read_bytes().decode()
    for variable, dsn in given.items():
        password = str(conninfo_to_dict(dsn)["password"])
        assert password not in said
        assert (password in environment) == ("MIGRATOR" not in variable)
    for dsn in operators.values():
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*) > 2 FROM clm_meta.schema_migrations").fetchone() == (True,)
    command.succeed("up", "--detach", **operators)
    assert command.operator() == operator, "nothing is pending, and who migrates is none of the operator's business"
    command.succeed("up", "--detach", **operators, **responders)
    assert command.status()["responder"] == "ready"
    command.succeed("up", "--detach", **operators)
    assert command.status()["responder"] is None
    command.succeed("down")


@pytest.mark.parametrize("present", ["CLM_SECURE_DSN", "CLM_CORE_DSN", "CLM_CORE_MIGRATOR_DSN"])
def test_one_alone_is_refused(command: Command, present: str) -> None:
    """Half a choice is a mistake: nothing is started, and the message names what is missing."""
    done = command.run("up", "--detach", **{present: "dbname=clm user=clm"})
    assert done.returncode == 1
    missing = "CLM_CORE_DSN" if present == "CLM_SECURE_DSN" else "CLM_SECURE_DSN"
    assert f"{missing}: is missing" in done.stderr
    assert command.running() == []


def test_no_plaintext(command: Command) -> None:
    """What the operator would refuse is refused before anything is sent there."""
    dsns = {f"CLM_{name}_DSN": "host=db.example dbname=clm user=clm password=hidden" for name in ("SECURE", "CORE")}
    done = command.run("up", "--detach", **dsns)
    assert done.returncode == 1
    assert "CLM_SECURE_DSN: must have sslmode=verify-full" in done.stderr
    assert "hidden" not in done.stderr


def test_its_own_settings_are_no_choice(command: Command) -> None:
    """Who has read the file of settings into the shell still gets the embedded databases."""
    command.succeed("up", "--detach")
    first = command.status()
    operators = {f"CLM_{name}_DSN".upper(): first[f"{name}_dsn"] for name in NAMES}
    command.succeed("down")
    command.succeed("up", "--detach", **operators)
    assert command.status()["databases"] == {"secure": True, "core": True}


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:secret@localhost:1/d?sslpassword=secret", "user=u dbname=d host=localhost port=1"),
        ("host=localhost password='a b' user=u", "user=u host=localhost"),
    ],
)
def test_no_password_is_shown(dsn: str, shown: str) -> None:
    """In whichever form it is written."""
    assert without_secrets(dsn) == shown
