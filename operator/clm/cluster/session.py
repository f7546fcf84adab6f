"""How CLM reaches the API server: kubeconfig or in-cluster, TLS, tokens that are renewed.

The official client reads the configuration in every form that Kubernetes knows. The requests themselves go
through plain aiohttp: per write it costs a third of the CPU (docs/decisions/0003).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import yaml
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.rest import RESTClientObject

from clm.errors import InvalidSetting

if TYPE_CHECKING:
    import ssl

_TOKEN_TRUSTED_S = 30.0
_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError)
"""What the client's reader raises, beside its own error, for a file that holds something else."""


@dataclass(slots=True)
class Credentials:
    """Where the API server is, and how to be let in."""

    server: str
    ssl_context: ssl.SSLContext
    configuration: kubernetes_client.Configuration = field(repr=False)
    _header: str | None = field(default=None, repr=False)
    _read_at: float = field(default=-_TOKEN_TRUSTED_S)

    @property
    def uses_token(self) -> bool:
        """Whether requests carry a bearer token, rather than a client certificate alone."""
        return self._header is not None

    async def authorization(self) -> str | None:
        """Value of the Authorization header; a token that is rotated on disk is read again by itself."""
        now = time.monotonic()
        if now - self._read_at >= _TOKEN_TRUSTED_S:
            settings = await self.configuration.auth_settings()
            self._header = settings.get("BearerToken", {}).get("value")
            self._read_at = now
        return self._header


async def load_credentials(kubeconfig: str | None = None) -> Credentials:
    """Read the kubeconfig of that path, else ``$KUBECONFIG``, else ``~/.kube/config``, else the pod's service account.

    Raises InvalidSetting, which says what to do, when there is none or it cannot be read.
    """
    given = kubeconfig or os.environ.get("KUBECONFIG")
    file = given or _default_kubeconfig()
    configuration = kubernetes_client.Configuration()
    try:
        if file is not None:
            await kubernetes_config.load_kube_config(file, client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        transport = RESTClientObject(configuration)
    except (kubernetes_config.ConfigException, *_UNREADABLE) as error:
        if file is not None:
            raise InvalidSetting("KUBECONFIG", f"{file} cannot be used: {error}; name a kubeconfig file") from error
        raise InvalidSetting(
            "KUBECONFIG",
            f"how to reach the API server is not known ({error}): set it to a kubeconfig file, or run in a pod with a"
            " service account; `clm dev up` makes a cluster, and `clm dev status` names its kubeconfig",
        ) from error
    credentials = Credentials(configuration.host.rstrip("/"), transport.ssl_context, configuration)
    await credentials.authorization()
    return credentials


def _default_kubeconfig() -> str | None:
    path = Path("~/.kube/config").expanduser()
    return str(path) if path.exists() else None


def open_session(credentials: Credentials, *, connections: int) -> aiohttp.ClientSession:
    """Open a session with at most `connections` sockets."""

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        header = await credentials.authorization()
        if header is not None:
            request.headers["Authorization"] = header
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=credentials.ssl_context, keepalive_timeout=60),
        headers={"User-Agent": "clm"},
        middlewares=(authorize,) if credentials.uses_token else (),
        auto_decompress=True,
    )
