"""Keys that must not be certified, because their private half can be computed or is no secret.

For every key that somebody brings (Baseline Requirements 6.1.1.3 and 6.1.6 have the same). What can be told from the
key alone is told here; keys that are known one by one come as a list.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.pki.keys import PublicKey

_LEAST_EXPONENT = 65537
_MOST_EXPONENT_BITS = 256

_TRIAL_LIMIT = 1 << 16
"""Factors below it are found; the Baseline Requirements (6.1.6) ask for 752."""

_FERMAT_ROUNDS = 100
"""Baseline Requirements 6.1.1.3: finds primes that were chosen next to each other (CVE-2022-26320)."""

_ROCA_GENERATOR = 65537
_ROCA_LIMIT = 701
"""The faulty library's primes are k*M + 65537^a mod M; from RSA-2048 on, M is divisible by every prime up to it."""

_P25519 = 2**255 - 19
# y of the points whose order divides 8 (RFC 7748 7, RFC 8032 5.1.7): for a key that is one of them, everybody can sign.
_SMALL_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {0, 1, _P25519 - 1, _SMALL_ORDER_8, _P25519 - _SMALL_ORDER_8}


class KnownKeys(Protocol):
    """Keys whose private half is known to somebody else."""

    def find(self, *, spki_sha256: bytes, number_sha256: bytes) -> str | None:
        """Say where a key is known from; None where it is not.

        `number_sha256` is over the one number that tells it from others of its kind: see `number_of`.
        """


def weaknesses(key: PublicKey, known: KnownKeys) -> Iterator[str]:
    """Iterate over the reasons why a key must not be certified; none for a good one."""
    if isinstance(key, rsa.RSAPublicKey):
        yield from _rsa(key.public_numbers())
    elif isinstance(key, ed25519.Ed25519PublicKey) and _is_of_small_order(key.public_bytes_raw()):
        yield "it is a point of small order, for which everybody can sign"
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    where = known.find(spki_sha256=hashlib.sha256(spki).digest(), number_sha256=hashlib.sha256(number_of(key)).digest())
    if where is not None:
        yield f"its private half is no secret ({where}); make another"


def number_of(key: PublicKey) -> bytes:
    """Octets, without leading zeros, of the number that lists of known keys go by: as badkeys has it.

    The modulus of an RSA key, x of a point, and of Ed25519 the key itself. It is the same whatever the exponent, the
    sign of y and the encoding: where one of these keys is compromised, all are.
    """
    if isinstance(key, rsa.RSAPublicKey):
        number = key.public_numbers().n
    elif isinstance(key, ec.EllipticCurvePublicKey):
        number = key.public_numbers().x
    else:
        number = int.from_bytes(key.public_bytes_raw(), "big")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _rsa(numbers: rsa.RSAPublicNumbers) -> Iterator[str]:
    modulus, exponent = numbers.n, numbers.e
    if exponent % 2 == 0 or exponent < _LEAST_EXPONENT or exponent.bit_length() > _MOST_EXPONENT_BITS:
        yield "its public exponent is not odd, at least 65537 and below 2^256 (FIPS 186-5 5.4)"
    if math.gcd(_product_of_primes(), modulus) != 1:
        yield "its modulus has a small factor"
    elif _factors_by_fermat(modulus):
        yield "its two primes are too close to each other, so that they are found at once (CVE-2022-26320)"
    if _is_roca(modulus):
        yield "it was made by a faulty library of Infineon's, and can be factored (ROCA, CVE-2017-15361)"


def _factors_by_fermat(modulus: int) -> bool:
    """Look for a with a^2 - n a square, from the root of n upwards: then n = (a + b)(a - b)."""
    a = math.isqrt(modulus - 1) + 1
    for _ in range(_FERMAT_ROUNDS):
        rest = a * a - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
        a += 1
    return False


def _is_roca(modulus: int) -> bool:
    """Tell whether the modulus is a power of 65537 modulo each small prime: by chance one in 2^168 is."""
    return all(modulus % prime in powers for prime, powers in _roca_powers())


@cache
def _roca_powers() -> tuple[tuple[int, frozenset[int]], ...]:
    """Powers of 65537 modulo each prime for which they are not everything but zero."""
    found = []
    for prime in _primes(_ROCA_LIMIT + 1):
        powers, power = {1}, _ROCA_GENERATOR % prime
        while power not in powers:
            powers.add(power)
            power = power * _ROCA_GENERATOR % prime
        if 0 not in powers and len(powers) < prime - 1:
            found.append((prime, frozenset(powers)))
    return tuple(found)


@cache
def _product_of_primes() -> int:
    return math.prod(_primes(_TRIAL_LIMIT))


def _primes(limit: int) -> list[int]:
    """Primes below a limit (sieve of Eratosthenes)."""
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


def _is_of_small_order(encoded: bytes) -> bool:
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    return y % _P25519 in _SMALL_ORDER
