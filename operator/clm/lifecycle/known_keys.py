"""Keys whose private half is no secret: those that came with this version, and two lists of the installation's.

The lists are read anew for every key that is looked up: a few reads of a sorted file, or one of a short text, for the
few Certificates that bring a key. So an update of theirs counts at once, and none is held in memory.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from clm.errors import FileUnavailable, InvalidSetting
from clm.pki.known_keys import PublishedKeys

if TYPE_CHECKING:
    from pathlib import Path

    from clm.settings import Settings

_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")

_ENTRY = 16
_DIGEST = 15
"""badkeys' blocklist.dat: sorted entries of 120 bits of a SHA-256, and one octet that says which list it is from."""


class KnownKeys:
    """Looks a key up in all of them. `hashes` and `badkeys` are files, None where the installation has none."""

    def __init__(self, *, hashes: Path | None = None, badkeys: Path | None = None) -> None:
        self._hashes = hashes
        self._badkeys = badkeys
        self._published = PublishedKeys()

    def check(self) -> None:
        """Read both lists once, so that a wrong file is told at the start. Raises FileUnavailable."""
        self.find(spki_sha256=bytes(32), number_sha256=bytes(32))

    def find(self, *, spki_sha256: bytes, number_sha256: bytes) -> str | None:
        """Say where a key is known from; None where it is not.

        Raises FileUnavailable when a list cannot be read: a key that cannot be looked up counts for no good one.
        """
        found = self._published.find(spki_sha256=spki_sha256, number_sha256=number_sha256)
        if found is None and self._hashes is not None and _is_listed(self._hashes, spki_sha256):
            found = "it is on this installation's list of blocked keys"
        if found is None and self._badkeys is not None and _is_bad(self._badkeys, number_sha256):
            found = "it is on badkeys' blocklist"
        return found


def open_known_keys(settings: Settings) -> KnownKeys:
    """Make the lists that an installation names. Raises InvalidSetting when one cannot be read."""
    for variable, path, argument in (
        ("CLM_BLOCKED_KEYS_FILE", settings.blocked_keys_file, "hashes"),
        ("CLM_BADKEYS_BLOCKLIST_FILE", settings.badkeys_blocklist_file, "badkeys"),
    ):
        try:
            KnownKeys(**{argument: path}).check()
        except FileUnavailable as error:
            raise InvalidSetting(variable, str(error)) from error
    return KnownKeys(hashes=settings.blocked_keys_file, badkeys=settings.badkeys_blocklist_file)


def _is_listed(path: Path, spki_sha256: bytes) -> bool:
    """Look for a hash in a text: one in hexadecimal a line, comments behind `#`."""
    wanted, listed = spki_sha256.hex(), False
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                text = line.partition("#")[0].strip()
                if text and not _HASH.match(text):
                    raise FileUnavailable(f"{path}: line {number} is not a SHA-256 in hexadecimal")
                listed = listed or text.lower() == wanted
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnavailable(f"{path}: {error}") from error
    return listed


def _is_bad(path: Path, number_sha256: bytes) -> bool:
    """Search a sorted file, by halves."""
    wanted = number_sha256[:_DIGEST]
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0 or size % _ENTRY:
                raise FileUnavailable(f"{path}: is not a blocklist of badkeys (blocklist.dat)")
            low, high = 0, size // _ENTRY
            while low < high:
                middle = (low + high) // 2
                found = os.pread(file.fileno(), _DIGEST, middle * _ENTRY)
                if found == wanted:
                    return True
                low, high = (middle + 1, high) if found < wanted else (low, middle)
    except OSError as error:
        raise FileUnavailable(f"{path}: {error}") from error
    return False
