"""Who gives a command, for the audit log."""

from __future__ import annotations

import getpass


def actor_id() -> str:
    """Pseudonym of whoever runs this command: the account on the machine that it runs on."""
    try:
        return f"account:{getpass.getuser()}"
    except (KeyError, OSError):
        return "account:unknown"
