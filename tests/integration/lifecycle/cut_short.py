"""Begins a destruction or an erasure and is killed at a boundary: a program of its own, because it dies by SIGKILL."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from clm.hsm.token import Token
from clm.lifecycle.key_acts import Actor, KeyActs
from clm.storage.database import Database
from clm.storage.secure.key_acts import KeyActStore
from clm.wiring.upkeep import build_eraser

if TYPE_CHECKING:
    from clm.lifecycle.boundaries import Boundary


def _killed_at(boundary: str) -> Boundary:
    def pass_or_die(name: str, /) -> None:
        if name == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_or_die


async def _main(act: str, object_id: str, boundary: str) -> None:
    secure = Database(os.environ["CLM_SECURE_DSN"], name="clm_secure_db", connections=2)
    core = Database(os.environ["CLM_CORE_DSN"], name="clm_core_db", connections=2)
    await secure.start()
    await core.start()
    if act == "erase":
        eraser = build_eraser(secure, core, actor="account:test", boundary=_killed_at(boundary))
        await eraser.erase(await eraser.find(object_id), reason="asked to")
    else:
        token = Token(
            module_path=os.environ["CLM_PKCS11_MODULE"],
            token_label=os.environ["CLM_TOKEN_LABEL"],
            token_serial=os.environ["CLM_TOKEN_SERIAL"],
            pin_file=Path(os.environ["CLM_TOKEN_PIN_FILE"]),
            workers=1,
        )
        await token.start()
        store = KeyActStore(secure, origin="test", version="0")
        acts = KeyActs(store=store, boundary=_killed_at(boundary), actor=Actor("account:test"))
        await acts.destroy(token, uuid.UUID(object_id), reason="a drill")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
