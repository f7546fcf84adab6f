"""Settings of `clm responder`. It needs no more than a DSN: no token, no PIN, no cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.errors import InvalidSetting
from clm.settings import read_settings, require_verified_tls

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderSettings:
    """What an installation chooses for the responder. Times are in seconds."""

    core_dsn: str = field(repr=False)
    """DSN of clm_core_db, for the user clm_responder. Another machine takes sslmode=verify-full."""
    responder_host: str = "127.0.0.1"
    """Address that CRLs, OCSP and CA certificates are served at. In a pod 0.0.0.0 (or ::)."""
    responder_port: int = 8080
    """Port that they are served at, in plain HTTP: what is served is signed, and clients need it before they trust."""
    responder_connections: int = 4096
    """Connections that are served at the same time; further ones are sent away."""
    ocsp_lifetime_s: float = 3600.0
    """From thisUpdate to nextUpdate of an OCSP answer: so long it may be relied on. Caches keep it for half of that."""
    ocsp_kept_answers: int = 100_000
    """OCSP answers, and statuses of certificates, that are kept in memory at most; about 2 kB each."""
    database_connections: int = 4
    """Connections to the database at most."""
    health_port: int = 0
    """Port of /healthz, /readyz and /metrics; 0: they are not served."""
    health_host: str = "127.0.0.1"
    """Address of /healthz, /readyz and /metrics."""
    log_level: str = "INFO"
    """Least level that is logged."""
    log_format: str = "text"
    """text, or json for collectors of logs."""


# Fewer answers would not hold one request about many certificates.
_LEAST = {"ocsp_kept_answers": 1000, "responder_connections": 1, "database_connections": 1, "ocsp_lifetime_s": 10}


def responder_settings(environment: Mapping[str, str]) -> ResponderSettings:
    """Read the settings from ``CLM_*`` variables. Raises InvalidSetting, which names the variable, not its value."""
    values = read_settings(ResponderSettings, environment, required=("core_dsn",))
    require_verified_tls(values["core_dsn"], variable="CLM_CORE_DSN", environment=environment)
    settings = ResponderSettings(**values)
    for name, least in _LEAST.items():
        if getattr(settings, name) < least:
            raise InvalidSetting(f"CLM_{name.upper()}", f"must be {least} or more")
    return settings
