"""The DER (X.690) that CLM writes or takes apart itself: around a signature, a name, a key, and in keystores."""

from __future__ import annotations

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
IA5_STRING = 0x16
BMP_STRING = 0x1E
SEQUENCE = 0x30
SET = 0x31
NULL = b"\x05\x00"

_CONTEXT_CONSTRUCTED = 0xA0

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


def children(encoded: bytes) -> list[bytes]:
    """Take a constructed value apart: the encodings within it. Only for what a strict parser has read already."""
    inside, found, at = content(encoded), [], 0
    while at < len(inside):
        found.append(inside[at : end(inside, at)])
        at = end(inside, at)
    return found


def dotted(encoded: bytes) -> str:
    """Write an OBJECT IDENTIFIER (X.690 8.19) in dotted form. Only for what a strict parser has read already."""
    arcs, arc = [], 0
    for octet in content(encoded):
        arc = arc << 7 | octet & 0x7F
        if octet < _SHORT:
            arcs.append(arc)
            arc = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def sequence(*parts: bytes) -> bytes:
    """Write a SEQUENCE of encoded values."""
    return tlv(SEQUENCE, b"".join(parts))


def explicit(number: int, encoded: bytes) -> bytes:
    """Write a value under an explicit context tag."""
    return tlv(_CONTEXT_CONSTRUCTED | number, encoded)


def octet_string(value: bytes) -> bytes:
    """Write an OCTET STRING."""
    return tlv(OCTET_STRING, value)


def integer(value: int) -> bytes:
    """Write an INTEGER that is not negative (X.690 8.3: in the fewest octets, the first bit is the sign)."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def object_identifier(text: str) -> bytes:
    """Write an OBJECT IDENTIFIER (X.690 8.19) of at least two arcs."""
    first, second, *rest = map(int, text.split("."))
    return tlv(OBJECT_IDENTIFIER, b"".join(map(_base_128, (40 * first + second, *rest))))


def _base_128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(_SHORT | (arc & 0x7F))
    return bytes(reversed(octets))
