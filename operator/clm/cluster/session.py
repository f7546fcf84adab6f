"""How CLM reaches the API server: kubeconfig or in-cluster, TLS, tokens that are renewed.

The official client reads the configuration in every form that Kubernetes knows. The requests themselves go
through plain aiohttp: per write it costs a third of the CPU (docs/decisions/0003).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.rest import RESTClientObject

if TYPE_CHECKING:
    import ssl

_TOKEN_TRUSTED_S = 30.0


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
    """Read the kubeconfig of that path, else ``$KUBECONFIG``, else the pod's service account."""
    configuration = kubernetes_client.Configuration()
    if kubeconfig is not None:
        await kubernetes_config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await kubernetes_config.load_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    transport = RESTClientObject(configuration)
    credentials = Credentials(configuration.host.rstrip("/"), transport.ssl_context, configuration)
    await credentials.authorization()
    return credentials


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
