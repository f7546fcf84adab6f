"""RSA keys for leaves, generated apart from the workers that reconcile.

A key takes up to seconds of a core, and few threads generate. Workers that waited for them would soon all wait, and
with them every Certificate that needs no RSA key. So nobody waits here: an object is told to come again, stands in
line meanwhile, and is called when its key is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from clm.errors import KeyPending
from clm.lifecycle.view import Key
from clm.pki.keys import generate

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from concurrent.futures import Executor

    from clm.pki.keys import PrivateKey
    from clm.resources.keys import KeySpec
    from clm.resources.records import Owner

MOST = 4
"""So many keys are in the making, or made and not fetched yet, at a time: the generators are never idle, and few keys
are ever in memory."""


class _Wish(NamedTuple):
    resource_uid: uuid.UUID
    spec: KeySpec


class _Making(NamedTuple):
    wish: _Wish
    key: asyncio.Future[PrivateKey]


class RsaKeys:
    """Generates in `executor`, first come, first served. `ready(key)` calls the object whose key can be taken."""

    def __init__(self, executor: Executor, *, ready: Callable[[Key], None]) -> None:
        self._executor = executor
        self._ready = ready
        self._waiting: dict[Key, _Wish] = {}
        self._making: dict[Key, _Making] = {}

    def take(self, owner: Owner, spec: KeySpec) -> PrivateKey:
        """Take the key that was generated for this object; it is given once. Raises KeyPending until it is there."""
        key, wish = Key(owner.namespace, owner.name), _Wish(owner.resource_uid, spec)
        making = self._making.get(key)
        if making is not None and making.wish == wish:
            if making.key.done():
                del self._making[key]
                self._go_on()
                return making.key.result()
        elif self._waiting.get(key) != wish:
            self.forget(key)
            self._waiting[key] = wish
            self._go_on()
        raise KeyPending(f"its {spec} key is being generated")

    def forget(self, key: Key) -> None:
        """Give up the object's place in line, and its key: it is gone, or asks for something else."""
        self._waiting.pop(key, None)
        making = self._making.pop(key, None)
        if making is not None:
            making.key.cancel()
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._making) < MOST:
            key = next(iter(self._waiting))
            wish = self._waiting.pop(key)
            made = asyncio.get_running_loop().run_in_executor(self._executor, generate, wish.spec)
            self._making[key] = _Making(wish, made)
            made.add_done_callback(lambda future, key=key: None if future.cancelled() else self._ready(key))  # type: ignore[misc]
