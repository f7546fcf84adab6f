"""Puts a key into the token that no row knows, or looks for it: a program of its own, as `extraction` is."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pkcs11 import Attribute, KeyType

from clm.hsm.token import Token

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext


def _act(context: SessionContext, what: str, label: str) -> int:
    if what == "make":
        template = {Attribute.LABEL: label, Attribute.ID: b"\x01\x02"}
        context.session.generate_key(KeyType.AES, 256, store=True, template=template)
    found = context.find({Attribute.LABEL: label, Attribute.TOKEN: True})
    for key in found if what == "remove" else ():
        key.destroy()
    return len(found)


async def _main(what: str, label: str) -> int:
    token = Token(
        module_path=os.environ["CLM_PKCS11_MODULE"],
        token_label=os.environ["CLM_TOKEN_LABEL"],
        token_serial=os.environ["CLM_TOKEN_SERIAL"],
        pin_file=Path(os.environ["CLM_TOKEN_PIN_FILE"]),
        workers=1,
    )
    await token.start()
    try:
        return await token.run(lambda context: _act(context, what, label))
    finally:
        await token.close()


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(_main(*sys.argv[1:]))))
