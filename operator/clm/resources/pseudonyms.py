"""Names that must not be read, and have to be found again: a slow digest in place of each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import uuid

_COST: Final = 2**14
_OCTETS: Final = 32


def name_digest(organization_id: uuid.UUID, name: str) -> bytes:
    """Give 32 octets that stand for a login name of an organization, in whatever case it is written.

    Takes some 50 ms on purpose. It hides a name, not that two are the same; who guesses a name can check it.
    """
    salt = b"clm-name/1/" + organization_id.bytes
    return hashlib.scrypt(name.lower().encode(), salt=salt, n=_COST, r=8, p=1, dklen=_OCTETS)
