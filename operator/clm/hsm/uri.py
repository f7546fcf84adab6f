"""PKCS #11 URIs (RFC 7512): how a token or a key in it is named in settings and status."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from clm.errors import InvalidInput

_FIELD = "uri"
_SCHEME = "pkcs11:"
_PATH_ATTRIBUTES = (
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-manufacturer",
    "library-version",
    "library-description",
    "object",
    "type",
    "id",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
)
_QUERY_ATTRIBUTES = ("pin-source", "pin-value", "module-name", "module-path")
_TYPES = ("public", "private", "cert", "secret-key", "data")
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")

Part = Literal["path", "query"]


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A PKCS #11 URI. Values are decoded octets; `repr` and `redacted` do not show a PIN, `str` does."""

    path: tuple[tuple[str, bytes], ...]
    query: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Read a URI. Raises InvalidInput, without the PIN in its text.

        Refused beyond the grammar of RFC 7512 2.3: attributes that are not in the RFC, `pin-value` beside
        `pin-source` (2.4), and a `pin-source` that starts with ``|``, which asks to run a command.
        """
        if text[: len(_SCHEME)].lower() != _SCHEME:
            raise InvalidInput(_FIELD, "does not start with 'pkcs11:'")
        path, _, query = text[len(_SCHEME) :].partition("?")
        uri = cls(
            path=_attributes(path, ";", _PATH_ATTRIBUTES, _PATH_VALUE),
            query=_attributes(query, "&", _QUERY_ATTRIBUTES, _QUERY_VALUE),
        )
        _check_values(uri)
        return uri

    def octets(self, name: str) -> bytes | None:
        """Value of an attribute in octets; None when it is not in the URI."""
        return next((value for known, value in (*self.path, *self.query) if known == name), None)

    def text(self, name: str) -> str | None:
        """Value of an attribute as text. Raises InvalidInput when it is not UTF-8."""
        value = self.octets(name)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            raise InvalidInput(_FIELD, f"{name} is not UTF-8") from None

    @property
    def token(self) -> str | None:
        """Label of the token."""
        return self.text("token")

    @property
    def serial(self) -> str | None:
        """Serial number of the token."""
        return self.text("serial")

    @property
    def key_id(self) -> bytes | None:
        """CKA_ID of the object."""
        return self.octets("id")

    def redacted(self) -> str:
        """Give the URI with the PIN, and what `pin-source` tells, left out."""
        return self._format(hide=("pin-value", "pin-source"))

    def __str__(self) -> str:
        """Give the URI whole, with a `pin-value` if there is one: not for a log."""
        return self._format(hide=())

    def __repr__(self) -> str:
        """Give the URI without its PIN."""
        return f"TokenUri({self.redacted()!r})"

    def _format(self, *, hide: tuple[str, ...]) -> str:
        path = ";".join(f"{name}={_encode(name, value)}" for name, value in self.path)
        query = "&".join(f"{name}={'***' if name in hide else _encode(name, value)}" for name, value in self.query)
        return f"{_SCHEME}{path}" + (f"?{query}" if query else "")


def _attributes(
    text: str, separator: str, known: tuple[str, ...], allowed: re.Pattern[str]
) -> tuple[tuple[str, bytes], ...]:
    found: dict[str, bytes] = {}
    for attribute in text.split(separator) if text else ():
        name, equals, value = attribute.partition("=")
        if not equals or name not in known:
            # The text may be a PIN with a separator in it, so it is not shown.
            raise InvalidInput(_FIELD, "has an attribute that RFC 7512 does not define, or one without a value")
        if name in found:
            raise InvalidInput(_FIELD, f"has {name} twice")
        if allowed.fullmatch(value) is None:
            raise InvalidInput(_FIELD, f"{name} has a character that must be percent-encoded, or a wrong '%'")
        found[name] = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), value.encode())
    return tuple(found.items())


def _check_values(uri: TokenUri) -> None:
    if uri.octets("pin-value") is not None and uri.octets("pin-source") is not None:
        raise InvalidInput(_FIELD, "has both pin-value and pin-source")
    if (uri.octets("pin-source") or b"").startswith(b"|"):
        raise InvalidInput(_FIELD, "pin-source asks to run a command")
    if uri.octets("type") is not None and uri.text("type") not in _TYPES:
        raise InvalidInput(_FIELD, f"type is not one of {', '.join(_TYPES)}")
    slot = uri.octets("slot-id")
    if slot is not None and not slot.isdigit():
        raise InvalidInput(_FIELD, "slot-id is not a number")


def _encode(name: str, value: bytes) -> str:
    """Percent-encode; `id` wholly, since its octets are no text (RFC 7512 2.3)."""
    if name == "id":
        return "".join(f"%{octet:02X}" for octet in value)
    return "".join(chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in value)
