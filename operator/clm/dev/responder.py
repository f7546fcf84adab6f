"""The responder as a process of the environment: what CRL and OCSP URLs of its certificates point at."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from clm.dev.ports import LOOPBACK, choose_ports, remembered_ports
from clm.dev.service import Service
from clm.responder.settings import ResponderSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

_ITS_OWN = frozenset(f"CLM_{field.name.upper()}" for field in fields(ResponderSettings))


@dataclass(frozen=True, slots=True)
class ResponderProcess(Service):
    """`clm responder`, detached. It is given no more than it needs: no PIN, no way into clm_secure_db."""

    command: ClassVar[str] = "responder"

    def settings(self, *, dsn: str) -> dict[str, str]:
        """Compose its settings, as environment variables. `dsn` is that of the user clm_responder."""
        ports = self._ports()
        return {
            "CLM_CORE_DSN": dsn,
            "CLM_RESPONDER_HOST": LOOPBACK,
            "CLM_RESPONDER_PORT": str(ports["http"]),
            "CLM_HEALTH_PORT": str(ports["health"]),
        }

    def public_url(self, environment: Mapping[str, str]) -> str:
        """Base URL for certificates: the caller's, or where it listens."""
        return environment.get("CLM_PUBLIC_URL") or f"http://{LOOPBACK}:{self._ports()['http']}"

    def inherited(self) -> dict[str, str]:
        """What the caller of `clm dev` has chosen for it, and of the other settings none."""
        return {name: value for name, value in Service.inherited(self).items() if name in _ITS_OWN}

    def _ports(self) -> dict[str, int]:
        """The ports, chosen once: certificates name one of them."""
        remembered = remembered_ports(self.ports_file)
        if remembered and self.processes.find(self.name) is not None:
            return remembered
        return choose_ports(self.ports_file, ["http", "health"])
