"""Tries to take every CA key and key-encryption key out of the token; prints how each attempt ended.

A program of its own: the module keeps the configuration that it was first loaded with.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

from clm.hsm.non_extractable import verify_non_extractable
from clm.hsm.token import Token


async def _main(key_ids: list[str]) -> dict[str, list[dict[str, object]]]:
    token = Token(
        module_path=os.environ["CLM_PKCS11_MODULE"],
        token_label=os.environ["CLM_TOKEN_LABEL"],
        token_serial=os.environ["CLM_TOKEN_SERIAL"],
        pin_file=Path(os.environ["CLM_TOKEN_PIN_FILE"]),
        workers=1,
    )
    await token.start()
    try:
        return {
            key_id: [asdict(attempt) for attempt in await verify_non_extractable(token, uuid.UUID(key_id))]
            for key_id in key_ids
        }
    finally:
        await token.close()


if __name__ == "__main__":
    json.dump(asyncio.run(_main(sys.argv[1:])), sys.stdout)
