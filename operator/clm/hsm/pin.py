"""The user PIN: read from its file at each login, and never tried twice after it was rejected.

A token locks after a few wrong PINs. So one rejection is enough: the same PIN is not offered again until the
file holds another one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from clm.errors import HsmUnavailable, PinRejected

if TYPE_CHECKING:
    from pathlib import Path


class PinFile:
    """The file, and the hash of what the token rejected."""

    def __init__(self, path: Path) -> None:
        """Keep the path; the file is read at each login."""
        self._path = path
        self._rejected: bytes | None = None
        self.rejections = 0
        """How often the token has rejected a PIN."""

    def read(self) -> str:
        """Read the PIN; trailing line ends are not part of it.

        Raises HsmUnavailable when the file cannot be read (it may still be mounted), and PinRejected when it
        still holds the PIN that was rejected.
        """
        try:
            pin = self._path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise HsmUnavailable(f"PIN file {self._path}: {type(error).__name__}") from None
        if not pin:
            raise HsmUnavailable(f"PIN file {self._path} is empty")
        if self._rejected is not None and self._digest(pin) == self._rejected:
            raise PinRejected(f"the token rejected the PIN in {self._path}; it is not tried again until it changes")
        return pin

    def reject(self, pin: str) -> None:
        """Remember that the token rejected this PIN."""
        self._rejected = self._digest(pin)
        self.rejections += 1

    @staticmethod
    def _digest(pin: str) -> bytes:
        return hashlib.sha256(pin.encode()).digest()
