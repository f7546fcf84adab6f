"""A real SoftHSM token in a temporary folder, for every test that needs one.

The module reads SOFTHSM2_CONF when it is initialized, and that happens once for a process. So all tokens of a test
run are in one store, told apart by their labels.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.hsm.library import open_library
from clm.hsm.provision import provision, write_softhsm_config
from clm.hsm.token import Token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import TypeVar

    from clm.hsm.session import SessionContext

    T = TypeVar("T")

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True, slots=True)
class TokenStore:
    """One provisioned token; `directory` is where its objects lie."""

    module_path: str
    label: str
    serial: str
    pin_file: Path
    so_pin_file: Path
    directory: Path

    def token(self, *, workers: int = 2, pin_file: Path | None = None, serial: str | None = None) -> Token:
        """A token that is not started yet."""
        return Token(
            module_path=self.module_path,
            token_label=self.label,
            token_serial=serial or self.serial,
            pin_file=pin_file or self.pin_file,
            workers=workers,
        )

    @asynccontextmanager
    async def opened(self, *, workers: int = 2) -> AsyncIterator[Token]:
        """A token that is started, and closed at the end."""
        token = self.token(workers=workers)
        await token.start()
        try:
            yield token
        finally:
            await token.close()

    def do(self, act: Callable[[Token], Coroutine[None, None, T]], *, workers: int = 2) -> T:
        """Run `act` with the token in an event loop of its own."""

        async def with_token() -> T:
            async with self.opened(workers=workers) as token:
                return await act(token)

        return asyncio.run(with_token())

    def visit(self, operation: Callable[[SessionContext], T]) -> T:
        """Run one blocking operation in a session of the token."""
        return self.do(lambda token: token.run(operation))


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """The store that all tokens of this test run are in."""

    module_path: str
    directory: Path

    def provision(self, label: str) -> TokenStore:
        """Make a token with this label, or take the one that stands."""
        tokens = self.directory / "tokens"
        before = set(tokens.iterdir())
        made = provision(module_path=self.module_path, label=label, directory=self.directory / label)
        new = set(tokens.iterdir()) - before
        directory = new.pop() if new else tokens
        return TokenStore(self.module_path, label, made.serial, made.pin_file, made.so_pin_file, directory)


def find_module() -> str:
    """Path of the SoftHSM module on this machine."""
    candidates = (os.environ.get("CLM_PKCS11_MODULE", ""), *MODULES)
    found = next((path for path in candidates if path and Path(path).is_file()), None)
    if found is None:
        pytest.fail("SoftHSM is not installed: apt-get install softhsm2, or set CLM_PKCS11_MODULE")
    return found


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A SoftHSM store for this test run."""
    directory = tmp_path_factory.mktemp("softhsm")
    os.environ["SOFTHSM2_CONF"] = str(write_softhsm_config(directory))
    module_path = find_module()
    library = open_library(module_path)
    # Another test may have loaded the module under another configuration.
    library.reset(library.generation, deadline=time.monotonic() + 10)
    return SoftHsm(module_path, directory)


@pytest.fixture(scope="session")
def token_store(softhsm: SoftHsm) -> TokenStore:
    """The token that tests share. A test that breaks its token provisions one of its own."""
    return softhsm.provision("clm-test")
