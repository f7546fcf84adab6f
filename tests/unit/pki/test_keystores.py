"""Keystores: the primitives by published vectors, the files by a reader that shares no code with them.

Java and OpenSSL read them in tests/integration/keystores.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clm.pki import der
from clm.pki.keys import to_pkcs8_der
from clm.pki.keystores import jks, pbe, pkcs12, rc2
from clm.pki.keystores.salts import Salts
from clm.resources.keystores import password_problem

if TYPE_CHECKING:
    from clm.pki.keystores.pkcs12 import ProfileName
    from tests.unit.pki.issuing import Authority, Keys

CREATED = datetime(2026, 11, 24, 12, tzinfo=UTC)
PASSWORD = "correct horse"


@pytest.mark.parametrize(
    ("bits", "key", "plaintext", "ciphertext"),
    [
        (63, "0000000000000000", "0000000000000000", "ebb773f993278eff"),
        (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
        (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
        (64, "88", "0000000000000000", "61a8a244adacccf0"),
        (64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"),
        (64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"),
        (128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
        (
            129,
            "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e",
            "0000000000000000",
            "5b78d3a43dfff1f1",
        ),
    ],
)
def test_rc2(bits: int, key: str, plaintext: str, ciphertext: str) -> None:
    """The vectors of RFC 2268, section 5."""
    words = rc2.expanded(bytes.fromhex(key), bits=bits)
    assert rc2.encrypt_block(bytes.fromhex(plaintext), words).hex() == ciphertext


def test_pkcs12_key_derivation() -> None:
    """The vectors of golang.org/x/crypto/pkcs12: a key longer than a hash, and an addend that begins with zero."""
    salt = bytes.fromhex("ffffffffffffffff")
    assert pbe.pkcs12_kdf("sha1", "sesame", salt, purpose=1, iterations=2048, size=24).hex() == (
        "7cd9fd3e2b3be7691a44e3bef0f9ea0fb9b897d4e325d9d1"
    )
    salt = bytes.fromhex("f37e05b518324b4b")
    assert pbe.pkcs12_kdf("sha1", "", salt, purpose=1, iterations=2048, size=24).hex() == (
        "00f759ff47d14dd03665d5943cb3c4a39a2555c02aed66e1"
    )


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "020100"),
        (127, "02017f"),
        (128, "02020080"),
        (2048, "02020800"),
        (10_000, "02022710"),
        (65_535, "020300ffff"),
    ],
)
def test_integers(value: int, encoded: str) -> None:
    """X.690 8.3: in the fewest octets, and not negative by accident."""
    assert der.integer(value).hex() == encoded


@pytest.mark.parametrize(
    ("dotted", "encoded"),
    [
        ("1.2.840.113549.1.7.1", "06092a864886f70d010701"),
        ("2.16.840.1.113894.746875.1.1", "060c6086480186f966adca7b0101"),
    ],
)
def test_object_identifiers(dotted: str, encoded: str) -> None:
    """X.690 8.19: in base 128, the first two arcs in one."""
    assert der.object_identifier(dotted).hex() == encoded


@pytest.mark.parametrize("profile", list(pkcs12.PROFILES))
def test_another_reader_opens_every_profile(keys: Keys, root: Authority, profile: ProfileName) -> None:
    """OpenSSL, through `cryptography`, finds the key, the chain in its order, and no other password opens it."""
    key, chain = keys.get("leaf"), _chain(root)
    data = pkcs12.write_keystore(
        private_key=to_pkcs8_der(key), chain=chain, password=PASSWORD, profile=profile, salts=_salts(keys)
    )
    opened = load_pkcs12(data, PASSWORD.encode())
    assert opened.key is not None
    assert opened.cert is not None
    assert opened.key.public_key() == key.public_key()
    assert opened.cert.friendly_name is None
    certificates = [opened.cert, *opened.additional_certs]
    assert tuple(each.certificate.public_bytes(Encoding.DER) for each in certificates) == chain
    with pytest.raises(ValueError, match="Invalid password"):
        load_pkcs12(data, b"Correct horse")


@pytest.mark.parametrize("profile", list(pkcs12.PROFILES))
def test_truststores_hold_certificates_only(keys: Keys, root: Authority, profile: ProfileName) -> None:
    """Each under its alias, without a key."""
    trusted = {"ca": root.issuer.chain[0], "ca-2": _chain(root)[1]}
    data = pkcs12.write_truststore(certificates=trusted, password=PASSWORD, profile=profile, salts=_salts(keys))
    opened = load_pkcs12(data, PASSWORD.encode())
    assert opened.key is None
    found = {each.friendly_name: each.certificate.public_bytes(Encoding.DER) for each in opened.additional_certs}
    assert found == {alias.encode(): certificate for alias, certificate in trusted.items()}


def test_the_same_goes_in_the_same_comes_out(keys: Keys, root: Authority) -> None:
    """No salt is out of a random generator: a Secret that is right is not written again."""
    assert _write(keys, root) == _write(keys, root)
    assert _write_jks(keys, root) == _write_jks(keys, root)


def test_salts_are_of_key_and_content_and_not_of_the_password(keys: Keys) -> None:
    """A public salt must not let anybody test guesses of a password; two contents must not share one."""
    key, other = to_pkcs8_der(keys.get("leaf")), to_pkcs8_der(keys.get("other"))
    taken = [
        Salts(private_key, form=form, contents=contents).take(purpose, 16)
        for private_key in (key, other)
        for form in ("jks", "pkcs12")
        for contents in ((b"ab", b"c"), (b"a", b"bc"), (b"abc",))
        for purpose in ("key", "mac")
    ]
    assert len(set(taken)) == len(taken) == 24
    assert pkcs12_salts(keys, "one") == pkcs12_salts(keys, "two")


def pkcs12_salts(keys: Keys, password: str) -> bytes:
    """Take the salt out of what encrypts under a password."""
    made = pbe.encrypt(b"text", scheme="PBES2", password=password, iterations=1, salts=_salts(keys), purpose="key")
    return made.algorithm


def test_jks_is_sealed_by_its_password(keys: Keys, root: Authority) -> None:
    """The last 20 bytes are the digest that Java compares; the key is nowhere in the clear."""
    data = _write_jks(keys, root)
    content, seal = data[:-20], data[-20:]
    assert seal == hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content).digest()
    assert data[:12].hex() == "feedfeed0000000200000002"
    assert to_pkcs8_der(keys.get("leaf"))[-32:] not in data


def test_passwords_and_keys_are_not_shown(keys: Keys, root: Authority) -> None:
    """What may end in a log by its repr names no secret."""
    entry = jks.KeyEntry(to_pkcs8_der(keys.get("leaf")), _chain(root))
    assert repr(entry) == "KeyEntry(<key>, 3 certificates)"
    assert repr(_salts(keys)).startswith("<clm.pki.keystores.salts.Salts object at")


def _chain(root: Authority) -> tuple[bytes, ...]:
    below = root.below({"commonName": "Intermediate", "isCA": True, "duration": "43800h"})
    return (below.leaf(), *below.issuer.chain)


def _salts(keys: Keys) -> Salts:
    return Salts(to_pkcs8_der(keys.get("leaf")), form="test", contents=(uuid.UUID(int=1).bytes,))


def _write(keys: Keys, root: Authority) -> bytes:
    key, chain = to_pkcs8_der(keys.get("leaf")), root.issuer.chain
    return pkcs12.write_keystore(
        private_key=key, chain=chain, password=PASSWORD, profile="Modern2023", salts=_salts(keys)
    )


def _write_jks(keys: Keys, root: Authority) -> bytes:
    entry = jks.KeyEntry(to_pkcs8_der(keys.get("leaf")), root.issuer.chain)
    trusted = {"ca": root.issuer.chain[0]}
    return jks.write(password=PASSWORD, created=CREATED, trusted=trusted, keys={"Web": entry}, salts=_salts(keys))


@given(plaintext=st.binary(max_size=80), key=st.binary(min_size=16, max_size=16), iv=st.binary(min_size=8, max_size=8))
def test_rc2_as_openssl_has_it(plaintext: bytes, key: bytes, iv: bytes) -> None:
    """With 128 bits OpenSSL can be asked: whatever is encrypted, it is the same."""
    padder = PKCS7(64).padder()
    encryptor = Cipher(RC2(key), CBC(iv)).encryptor()
    expected = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    assert rc2.encrypt_cbc(plaintext, key=key, iv=iv) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(password=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=256))
@pytest.mark.parametrize("profile", ["LegacyDES", "LegacyRC2"])
def test_every_password_opens(keys: Keys, root: Authority, password: str, profile: ProfileName) -> None:
    """Whatever is allowed as a password is understood alike by the writer and by another reader."""
    assert password_problem(password) is None
    private_key, chain = to_pkcs8_der(keys.get("leaf")), root.issuer.chain
    data = pkcs12.write_keystore(
        private_key=private_key, chain=chain, password=password, profile=profile, salts=_salts(keys)
    )
    opened = load_pkcs12(data, password.encode())
    assert opened.key is not None
    assert opened.key.public_key() == keys.get("leaf").public_key()
