"""No password and no record goes to a server that is not the one meant."""

from __future__ import annotations

import pytest

from clm.errors import InvalidSetting
from clm.settings import require_verified_tls, settings_from_environment

NOTHING: dict[str, str] = {}


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db.example sslmode=verify-full",
        "postgresql://clm_operator_core:secret@db.example,other.example/clm_core_db?sslmode=verify-full",
        "host=/var/run/postgresql",
        "host=@abstract",
        "host=localhost sslmode=disable",
        "host=db.example hostaddr=127.0.0.1",
        "host=127.0.0.5",
        "host=::1",
        "dbname=clm_core_db",
    ],
)
def test_verified_or_on_this_machine(dsn: str) -> None:
    """Sockets and the loopback address need no TLS."""
    require_verified_tls(dsn, variable="CLM_CORE_DSN", environment=NOTHING)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db.example",
        "host=db.example sslmode=require",
        "host=db.example sslmode=verify-ca",
        "postgresql://clm:secret@db.example/clm_core_db?sslmode=prefer",
        "host=localhost,db.example",
        "host=localhost hostaddr=192.0.2.1",
        "host=192.0.2.1",
        "service=production sslmode=verify-full",
    ],
)
def test_anything_weaker_is_refused(dsn: str) -> None:
    """The message names the setting and shows nothing of its value."""
    with pytest.raises(InvalidSetting, match=r"^CLM_CORE_DSN: must ") as caught:
        require_verified_tls(dsn, variable="CLM_CORE_DSN", environment=NOTHING)
    assert "example" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_environment_completes_it() -> None:
    """As libpq reads it."""
    require_verified_tls("host=db.example", variable="X", environment={"PGSSLMODE": "verify-full"})
    with pytest.raises(InvalidSetting, match="verify-full"):
        require_verified_tls("dbname=clm_core_db", variable="X", environment={"PGHOST": "db.example"})
    with pytest.raises(InvalidSetting, match="service"):
        require_verified_tls("dbname=clm_core_db", variable="X", environment={"PGSERVICE": "production"})


@pytest.mark.parametrize("weak", ["CLM_SECURE_DSN", "CLM_CORE_DSN"])
def test_the_operator_does_not_start_with_it(weak: str) -> None:
    """Either DSN is looked at before anything connects."""
    environment = {
        "CLM_SECURE_DSN": "host=/run", "CLM_CORE_DSN": "host=/run", "CLM_PKCS11_MODULE": "m", "CLM_TOKEN_PIN_FILE": "p",
        "CLM_CLUSTER_ID": "00000000-0000-0000-0000-000000000001",
    }  # fmt: skip
    settings_from_environment(environment)
    with pytest.raises(InvalidSetting, match=weak):
        settings_from_environment({**environment, weak: "host=db.example password=secret sslmode=require"})
    with pytest.raises(InvalidSetting, match="not a valid connection string"):
        settings_from_environment({**environment, weak: "not a dsn"})
