"""A key whose private half can be computed, or is no secret, is found; a good one is not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from clm.errors import InvalidInput
from clm.pki import weak_keys
from clm.pki.keys import PublicKey, generate, spki_der
from clm.pki.known_keys import PUBLISHED, PublishedKeys
from clm.resources.keys import KeySpec
from tests.unit.pki.requests import csr, rsa_key_of, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = PublishedKeys()
SMALL_PRIMES = math.prod(n for n in range(2, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1)))

# RFC 6979 A.2.5, RFC 8032 7.1 test 1 and RFC 7515 A.3: private and public halves stand side by side there.
RFC_6979 = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
RFC_8032 = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
RFC_7515 = 0x8E9B109E719098BF980487DF1F5D77E9CB29606EBED2263B5F57C213DF84F4B2


def found(key: PublicKey) -> list[str]:
    """List what is wrong with a key."""
    return list(weak_keys.weaknesses(key, KNOWN))


def is_prime(number: int) -> bool:
    """Tell whether a number is prime, by Fermat's test to a few bases: enough for numbers that nobody chose."""
    return math.gcd(number, SMALL_PRIMES) == 1 and all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7))


def next_prime(number: int) -> int:
    """Find the first prime at or above an odd number."""
    return next(candidate for candidate in range(number | 1, number + 100_000, 2) if is_prime(candidate))


@pytest.fixture(scope="module")
def primes() -> tuple[int, int]:
    """Two primes of 1024 bits, far from each other."""
    numbers = generate_rsa().private_numbers()
    return numbers.p, numbers.q


def generate_rsa() -> rsa.RSAPrivateKey:
    """Make a good RSA-2048 key."""
    key = generate(KeySpec("RSA", 2048))
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@pytest.mark.parametrize(
    "spec", [KeySpec("RSA", 2048), KeySpec("ECDSA", 256), KeySpec("ECDSA", 384), KeySpec("Ed25519", 256)], ids=str
)
def test_a_good_key(spec: KeySpec) -> None:
    """What CLM generates itself has none of these weaknesses."""
    assert found(generate(spec).public_key()) == []


@pytest.mark.parametrize("exponent", [3, 17, 35, 65535])
def test_a_small_exponent(exponent: int, primes: tuple[int, int]) -> None:
    """Below 65537 (FIPS 186-5): old tools chose them for speed."""
    modulus = primes[0] * primes[1]
    assert "public exponent" in found(rsa.RSAPublicNumbers(exponent, modulus).public_key())[0]


def test_a_large_exponent(primes: tuple[int, int]) -> None:
    """From 2^256 on, where a private exponent may be so small that it is found (Wiener)."""
    assert "public exponent" in found(rsa.RSAPublicNumbers(2**256 + 1, primes[0] * primes[1]).public_key())[0]


@pytest.mark.parametrize("factor", [3, 751, 65521])
def test_a_small_factor(factor: int, primes: tuple[int, int]) -> None:
    """A modulus of damaged memory mostly has one."""
    modulus = factor * (primes[0] * primes[1] >> factor.bit_length() - 1 | 1)
    assert "small factor" in found(rsa.RSAPublicNumbers(65537, modulus).public_key())[0]


@pytest.mark.parametrize("apart", [0, 2, 1 << 500], ids=["square", "neighbours", "near"])
def test_primes_that_are_close(apart: int, primes: tuple[int, int]) -> None:
    """Their product is factored at once, also where they differ in the lower half only (CVE-2022-26320)."""
    p = primes[0]
    q = p if apart == 0 else next_prime(p + apart)
    assert "too close" in found(rsa.RSAPublicNumbers(65537, p * q).public_key())[0]


def roca_prime(seed: int) -> int:
    """Make a prime as the faulty library did for RSA-2048 (Nemec et al. 2017, 2.1): k*M + 65537^a mod M."""
    small: list[int] = []
    for number in range(2, 702):
        if all(number % prime for prime in small):
            small.append(number)
    m = math.prod(small)
    rest = pow(65537, seed, m)
    start = (1 << 1023) // m + seed
    return next(p for k in range(start, start + 100_000) if is_prime(p := k * m + rest))


def test_roca() -> None:
    """Keys of the faulty library are told by their modulus alone (CVE-2017-15361)."""
    key = rsa_key_of(roca_prime(12_345), roca_prime(98_765))
    assert any("ROCA" in each for each in found(key.public_key()))


def published() -> Iterator[PublicKey]:
    """Iterate over the public halves of published private keys."""
    yield ec.derive_private_key(RFC_6979, ec.SECP256R1()).public_key()
    yield ec.derive_private_key(RFC_7515, ec.SECP256R1()).public_key()
    yield ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032)).public_key()


@pytest.mark.parametrize("key", list(published()), ids=["RFC 6979", "RFC 7515", "RFC 8032"])
def test_a_published_key(key: PublicKey) -> None:
    """Keys of standards are everybody's."""
    assert "it is published: RFC" in found(key)[0]


def test_the_other_half_of_a_published_key() -> None:
    """The point with the other y has the private half that everybody can compute from the published one."""
    numbers = ec.derive_private_key(RFC_6979, ec.SECP256R1()).public_key().public_numbers()
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    assert found(ec.EllipticCurvePublicNumbers(numbers.x, prime - numbers.y, numbers.curve).public_key())


def test_the_list_is_one_of_hashes() -> None:
    """Every entry can be found: it is the hash of something, and says where that was published."""
    assert all(len(bytes.fromhex(digest)) == 32 and where for digest, where in PUBLISHED.items())
    assert len(PUBLISHED) > 20


def test_a_request_with_a_weak_key() -> None:
    """Such a request is refused before its signature is looked at, by its field and with the reason."""
    with pytest.raises(InvalidInput, match=r"spec\.request: its key must not be certified: .*published: RFC 6979"):
        spec_of(csr(key=ec.derive_private_key(RFC_6979, ec.SECP256R1())))


def test_a_key_of_an_odd_size(primes: tuple[int, int]) -> None:
    """Only sizes that a spec can name."""
    key = rsa_key_of(primes[0], next_prime(primes[1] >> 8))
    with pytest.raises(InvalidInput, match=r"RSA keys have .* bits, not 20"):
        spec_of(csr(key=key))


def test_number_of_is_that_of_badkeys() -> None:
    """Its documentation has the modulus, x and the octets of an Ed25519 key, without leading zeros."""
    key = generate_rsa().public_key()
    assert int.from_bytes(weak_keys.number_of(key), "big") == key.public_numbers().n
    edwards = ed25519.Ed25519PublicKey.from_public_bytes(bytes([0, 7]) + bytes(30))
    assert weak_keys.number_of(edwards) == bytes([7]) + bytes(30)
    assert spki_der(edwards).endswith(bytes([0, 7]) + bytes(30))
