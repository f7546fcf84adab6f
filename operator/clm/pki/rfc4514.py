"""The syntax of distinguished names as text (RFC 4514 3): taken apart, with nothing made of it yet.

cryptography has a parser of its own. It knows nine attribute types, by their names in capitals only, takes `#` values
for text instead of DER, and does not tell what is wrong or where.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+", re.ASCII)
_HEX_PAIR = re.compile(r"[0-9A-Fa-f]{2}", re.ASCII)
_HEX_STRING = re.compile(r"#(?P<digits>(?:[0-9A-Fa-f]{2})+)", re.ASCII)
# RFC 4514 3: `special`, and the backslash itself.
_ESCAPED = set(' "#+,;<=>\\')
_NEEDS_ESCAPE = set('";<>\0')


class Attribute(NamedTuple):
    """One `type=value`. The type is as written; `encoded` tells that the value is DER and not text."""

    type: str
    text: str
    encoded: bytes | None


def parse_rdns(text: str) -> list[list[Attribute]]:
    """Take a name apart: relative names in the order of the text, each with one or more attributes.

    White space around types and values that is not escaped is passed over, as RFC 4514's predecessors have it. Raises
    ValueError, with a text fit for people that tells the place, on anything that is no name.
    """
    scanner = _Scanner(text)
    rdns = [scanner.rdn()]
    while scanner.take(","):
        rdns.append(scanner.rdn())
    if not scanner.at_end():
        raise scanner.error(f'"{scanner.peek()}" needs a backslash before it')
    return rdns


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def take(self, character: str) -> bool:
        self._skip_spaces()
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what} (character {self._at + 1}; RFC 4514)")

    def rdn(self) -> list[Attribute]:
        attributes = [self._attribute()]
        while self.take("+"):
            attributes.append(self._attribute())
        return attributes

    def _attribute(self) -> Attribute:
        self._skip_spaces()
        found = _TYPE.match(self._text, self._at)
        if found is None:
            raise self.error("an attribute type is missing, such as CN or 2.5.4.3")
        self._at = found.end()
        if not self.take("="):
            raise self.error(f'"=" is missing after {found[0]}')
        self._skip_spaces()
        encoded = _HEX_STRING.match(self._text, self._at)
        if encoded is not None:
            self._at = encoded.end()
            return Attribute(found[0], "", bytes.fromhex(encoded["digits"]))
        if self.peek() == "#":
            raise self.error('after "#" come pairs of hexadecimal digits; a value that begins with it needs "\\#"')
        return Attribute(found[0], self._value(), None)

    def _value(self) -> str:
        octets, kept = bytearray(), 0
        while not self.at_end() and (character := self.peek()) not in {",", "+"}:
            if character in _NEEDS_ESCAPE:
                raise self.error(f'"{character}" needs a backslash before it')
            octets += self._escaped() if character == "\\" else character.encode("utf-8", "surrogatepass")
            self._at += 1
            if character != " ":
                kept = len(octets)
        try:
            return octets[:kept].decode("utf-8")
        except UnicodeDecodeError:
            raise self.error("the octets before this place are not UTF-8") from None

    def _escaped(self) -> bytes:
        """Read what a backslash stands for; leaves the position at its last character."""
        following = self._text[self._at + 1 : self._at + 2]
        if following and following in _ESCAPED:
            self._at += 1
            return following.encode()
        pair = _HEX_PAIR.match(self._text, self._at + 1)
        if pair is None:
            raise self.error("a backslash stands before a special character or two hexadecimal digits")
        self._at += 2
        return bytes.fromhex(pair[0])

    def _skip_spaces(self) -> None:
        while self.peek() == " ":
            self._at += 1
