"""RC2 (RFC 2268) in CBC mode, to encrypt only: what the oldest PKCS#12 readers expect around certificates.

40 bits hide nothing. It is here for the profile LegacyRC2, where it is put around certificates, which are public; the
private key is under Triple DES there. `cryptography` has RC2 with 128 bits only, and a second library of ciphers for
this would be more to trust than these lines, which the vectors of the RFC, OpenSSL and Java check.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.padding import PKCS7

BLOCK = 8

_WORD = 0xFFFF
_MIX_ROUNDS = (5, 6, 5)
_SHIFTS = (1, 2, 3, 5)
# RFC 2268 2: a permutation of the numbers 0 to 255, by the digits of pi.
_PITABLE = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)


def encrypt_cbc(plaintext: bytes, *, key: bytes, iv: bytes) -> bytes:
    """Encrypt with PKCS#7 padding; the effective length of the key is its length (RFC 2268 2, T1).

    Thirty microseconds a block.
    """
    words = expanded(key, bits=8 * len(key))
    padder = PKCS7(8 * BLOCK).padder()
    padded = padder.update(plaintext) + padder.finalize()
    blocks, previous = [], iv
    for at in range(0, len(padded), BLOCK):
        mixed = bytes(a ^ b for a, b in zip(padded[at : at + BLOCK], previous, strict=True))
        previous = encrypt_block(mixed, words)
        blocks.append(previous)
    return b"".join(blocks)


def encrypt_block(block: bytes, words: tuple[int, ...]) -> bytes:
    """Encrypt one block (RFC 2268 3.3). `words` is the expanded key."""
    r = [int.from_bytes(block[at : at + 2], "little") for at in range(0, BLOCK, 2)]
    j = 0
    for index, rounds in enumerate(_MIX_ROUNDS):
        if index:
            for i in range(4):
                r[i] = (r[i] + words[r[i - 1] & 63]) & _WORD
        for _ in range(rounds):
            for i in range(4):
                mixed = r[i] + words[j] + (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3])
                r[i] = _rotated(mixed & _WORD, _SHIFTS[i])
                j += 1
    return b"".join(word.to_bytes(2, "little") for word in r)


def expanded(key: bytes, *, bits: int) -> tuple[int, ...]:
    """Expand a key of an effective length in bits into 64 words (RFC 2268 2)."""
    buffer = bytearray(key)
    for at in range(len(key), 128):
        buffer.append(_PITABLE[(buffer[at - 1] + buffer[at - len(key)]) & 0xFF])
    size = (bits + 7) // 8
    mask = 0xFF >> (8 * size - bits)
    buffer[128 - size] = _PITABLE[buffer[128 - size] & mask]
    for at in range(127 - size, -1, -1):
        buffer[at] = _PITABLE[buffer[at + 1] ^ buffer[at + size]]
    return tuple(int.from_bytes(buffer[at : at + 2], "little") for at in range(0, 128, 2))


def _rotated(word: int, by: int) -> int:
    return ((word << by) | (word >> (16 - by))) & _WORD
