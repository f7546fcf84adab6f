"""The operator as a process of the environment: its settings, and the file by which people have them too."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clm.dev.ports import choose_ports, remembered_ports
from clm.dev.service import READY_TIMEOUT_S as READY_TIMEOUT_S
from clm.dev.service import Service
from clm.dev.state import write_private

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from clm.dev.token import DevToken

NAME = "clm-controller"


@dataclass(frozen=True, slots=True)
class ControllerProcess(Service):
    """`clm controller`, detached."""

    command: ClassVar[str] = "controller"

    def settings(
        self,
        *,
        dsns: dict[str, str],
        token: DevToken,
        kubeconfig: Path,
        cluster: uuid.UUID,
        public_url: str | None,
    ) -> dict[str, str]:
        """Compose the operator's settings, as environment variables."""
        running = self.processes.find(self.name) is not None
        ports = remembered_ports(self.ports_file) if running else choose_ports(self.ports_file, ["health"])
        settings = {
            "CLM_SECURE_DSN": dsns["secure"],
            "CLM_CORE_DSN": dsns["core"],
            "CLM_PKCS11_MODULE": str(token.module),
            "CLM_TOKEN_LABEL": token.label,
            "CLM_TOKEN_SERIAL": token.serial,
            "CLM_TOKEN_PIN_FILE": str(token.pin_file),
            "CLM_CLUSTER_ID": str(cluster),
            "CLM_HEALTH_PORT": str(ports["health"]),
            "KUBECONFIG": str(kubeconfig),
            "SOFTHSM2_CONF": str(token.configuration),
        }
        return settings if public_url is None else {**settings, "CLM_PUBLIC_URL": public_url}

    def record(self, settings: dict[str, str]) -> None:
        """Note what it is started with, also for `set -a; . FILE`."""
        Service.record(self, settings)
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in settings.items()]
        write_private(self.state.environment_file, "".join(lines))
