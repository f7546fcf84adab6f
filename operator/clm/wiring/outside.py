"""Opens what lies outside the process, for whichever process needs it: the token, the two databases, the API server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clm.cluster.client import ApiClient
from clm.cluster.session import Credentials, open_session
from clm.hsm.token import Token
from clm.storage.database import Database

if TYPE_CHECKING:
    from clm.settings import Settings


@dataclass(slots=True, kw_only=True)
class Dependencies:
    """What lies outside the process: the token, the two databases, the API server."""

    token: Token
    secure: Database
    core: Database
    client: ApiClient
    watch_client: ApiClient
    keygen: ThreadPoolExecutor

    async def close(self) -> None:
        """Let go of everything; the first error wins."""
        self.keygen.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(
            self.client.close(), self.watch_client.close(), self.secure.close(), self.core.close(), self.token.close()
        )


def open_dependencies(settings: Settings, credentials: Credentials) -> Dependencies:
    """Make the clients of everything outside; none of them connects yet."""
    return Dependencies(
        token=open_token(settings),
        secure=open_database(settings, "secure"),
        core=open_database(settings, "core"),
        client=ApiClient(open_session(credentials, connections=settings.api_connections), credentials.server),
        watch_client=ApiClient(open_session(credentials, connections=4), credentials.server),
        keygen=ThreadPoolExecutor(settings.keygen_workers, thread_name_prefix="keygen"),
    )


def open_token(settings: Settings) -> Token:
    """Make the client of the token; it is not started."""
    return Token(
        module_path=settings.pkcs11_module,
        token_label=settings.token_label,
        token_serial=settings.token_serial,
        pin_file=settings.token_pin_file,
        workers=settings.hsm_workers,
    )


def open_database(settings: Settings, name: Literal["secure", "core"]) -> Database:
    """Make the pool of one of the two databases; it does not connect yet."""
    dsn = settings.secure_dsn if name == "secure" else settings.core_dsn
    return Database(dsn, name=f"clm_{name}_db", connections=settings.database_connections)
