"""The few bytes of DER (X.690) that CLM writes itself: around a signature, and around an otherName."""

from __future__ import annotations

BIT_STRING = 0x03
UTF8_STRING = 0x0C
SEQUENCE = 0x30

_SHORT = 0x80


def tlv(tag: int, content: bytes) -> bytes:
    """Write tag, length (X.690 8.1.3, the shortest form) and content."""
    length = len(content)
    if length < _SHORT:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, _SHORT | size)) + length.to_bytes(size, "big") + content


def header_size(encoded: bytes, at: int = 0) -> int:
    """Count the octets of tag and length at a position. Raises IndexError when it is past the end."""
    first = encoded[at + 1]
    return 2 if first < _SHORT else 2 + (first & ~_SHORT)


def end(encoded: bytes, at: int = 0) -> int:
    """Find where the value that begins at a position ends. Raises IndexError when it begins past the end."""
    first, size = encoded[at + 1], header_size(encoded, at)
    length = first if first < _SHORT else int.from_bytes(encoded[at + 2 : at + size], "big")
    return at + size + length


def content(encoded: bytes) -> bytes:
    """Take tag and length off one value. Raises IndexError when there is none."""
    return encoded[header_size(encoded) : end(encoded)]
