"""One typed settings object: everything an installation can choose.

Every setting is an environment variable ``CLM_<NAME>`` (the chart's values become these), and has a
default that works under ``clm dev``, except what only the installation can know: the two DSNs and the token.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clm.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "clm-operator.io")
"""Every derived id of CLM is a UUIDv5 (RFC 9562 5.5) below this one."""


def organization_id(name: str) -> uuid.UUID:
    """Id of the organization of that name: the same in every installation and database."""
    return uuid.uuid5(NAMESPACE, f"organization/{name}")


SYSTEM_ORGANIZATION = organization_id("system")
"""Owns what no tenant owns: key-encryption keys, sealing keys, shared CAs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation chooses. Times are in seconds."""

    secure_dsn: str = field(repr=False)
    core_dsn: str = field(repr=False)
    pkcs11_module: str
    token_label: str = "clm"  # noqa: S105 - the name of a token, not a secret
    token_serial: str | None = None
    token_pin_file: Path
    cluster_id: uuid.UUID
    organization: str = "default"
    namespace: str = "clm-system"

    reconcile_workers: int = 64
    hsm_workers: int = 1
    keygen_workers: int = 2
    database_connections: int = 4
    api_connections: int = 32
    health_port: int = 0
    events_per_second: float = 5.0
    sweep_interval_s: float = 60.0
    deletion_sweep_interval_s: float = 600.0
    hsm_deadline_s: float = 30.0
    log_level: str = "INFO"
    log_format: str = "text"

    @property
    def organization_id(self) -> uuid.UUID:
        """Id of the installation's default organization."""
        return organization_id(self.organization)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "str | None": str,
    "int": int,
    "float": float,
    "Path": Path,
    "uuid.UUID": uuid.UUID,
}


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings from ``CLM_*`` variables.

    Raises InvalidSetting, which names the variable and never shows its value (a DSN holds a password).
    """
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        variable = f"CLM_{spec.name.upper()}"
        text = environment.get(variable)
        if text is None or text == "":
            continue
        try:
            values[spec.name] = _PARSERS[str(spec.type)](text)
        except ValueError:
            raise InvalidSetting(variable, f"is not a valid {spec.type}") from None
    for required in ("secure_dsn", "core_dsn", "pkcs11_module", "token_pin_file", "cluster_id"):
        if required not in values:
            raise InvalidSetting(f"CLM_{required.upper()}", "is not set, and has no default")
    return Settings(**values)
