"""Bearer tokens for the clients of the API server, which a pod has too.

The API server remembers a token for some seconds, where it verifies a client certificate anew with every request: a
tenth of what a write costs it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from clm.dev.state import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make_tokens(file: Path, users: Mapping[str, tuple[str, str | None]]) -> dict[str, str]:
    """Read the API server's token file; make it when it is not there. Returns each user's token.

    `users` has a user name and a group for each key of the result.
    """
    if not file.exists():
        lines = [f'{secrets.token_hex(32)},{user},{name},"{group or ""}"\n' for name, (user, group) in users.items()]
        write_private(file, "".join(lines))
    rows = (line.split(",") for line in file.read_text(encoding="ascii").splitlines())
    return {row[2]: row[0] for row in rows}
