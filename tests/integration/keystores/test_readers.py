"""Java and OpenSSL open what CLM writes: every format, every profile, every kind of key."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from clm.lifecycle.secret_files import further_files
from clm.pki.chain import Bundle, bundle
from clm.pki.keys import to_pem
from clm.pki.tbs import ThrowawayKeys
from clm.resources.certificate import parse_certificate
from clm.resources.keys import KeySpec
from tests import keytool
from tests.unit.pki.issuing import Authority, Keys

if TYPE_CHECKING:
    from clm.pki.keys import PrivateKey

CREATED = datetime(2026, 11, 24, 12, tzinfo=UTC)
PASSWORD = 'it\'s a "pass" word~'
KINDS = [
    KeySpec("RSA", 2048),
    KeySpec("RSA", 3072),
    KeySpec("ECDSA", 256),
    KeySpec("ECDSA", 521),
    KeySpec("Ed25519", 256),
]
OPENSSL_OPTIONS = {"LegacyRC2": ["-legacy"], "LegacyDES": [], "Modern2023": []}
"""What OpenSSL 3 has to be told. Modern2026 takes OpenSSL 3.4 or Java 26: tests/unit/pki has another reader."""
IN_JAVA = [KeySpec("RSA", 2048), KeySpec("ECDSA", 256), KeySpec("Ed25519", 256)]


class Issued:
    """A root, an intermediate, and leaves of each kind of key below it."""

    def __init__(self) -> None:
        self.keys = Keys()
        root = Authority.root(self.keys, ThrowawayKeys())
        self.below = root.below({"commonName": "Intermediate", "isCA": True, "duration": "43800h"})

    def leaf(self, kind: KeySpec) -> tuple[PrivateKey, Bundle]:
        """Issue a leaf."""
        return self.keys.get("leaf", kind), bundle(self.below.leaf(spec=kind), self.below.issuer.chain)


@pytest.fixture(scope="module")
def issued() -> Issued:
    """Certificates, made once."""
    return Issued()


def write(key: PrivateKey, chain: Bundle, **keystores: dict[str, Any]) -> dict[str, bytes]:
    """Write the files that a Certificate asks for."""
    spec = parse_certificate(
        {
            "policyRef": {"name": "p"},
            "secretName": "s",
            "dnsNames": ["web.shop.svc"],
            "keystores": {name: {"create": True, "password": PASSWORD, **store} for name, store in keystores.items()},
        }
    )
    passwords = {store.path: PASSWORD for store in spec.keystores}
    return further_files(spec, key=key, bundle=chain, passwords=passwords, created=CREATED)


@pytest.mark.parametrize("kind", IN_JAVA, ids=str)
def test_java_reads_jks(issued: Issued, kind: KeySpec) -> None:
    """The key under its alias in lower case with its chain, the CA as a trusted certificate; and the truststore."""
    key, chain = issued.leaf(kind)
    files = write(key, chain, jks={"alias": "Shop Web"})
    assert keytool.entries(files["keystore.jks"], PASSWORD) == {
        "shop web": keytool.Entry(trusted=False, certificates=_split(chain.certificates)),
        "ca": keytool.Entry(trusted=True, certificates=_split(chain.root)),
    }
    assert _public(keytool.private_key(files["keystore.jks"], PASSWORD, alias="Shop Web")) == _public_of(key)
    if kind == KINDS[0]:
        trusted = keytool.entries(files["truststore.jks"], PASSWORD)
        assert trusted == {"ca": keytool.Entry(trusted=True, certificates=_split(chain.root))}


def test_java_refuses_another_password_for_jks(issued: Issued) -> None:
    """It is checked, and by every character."""
    key, chain = issued.leaf(KINDS[2])
    files = write(key, chain, jks={})
    with pytest.raises(keytool.Refused, match="password was incorrect"):
        keytool.entries(files["keystore.jks"], PASSWORD + " ")


@pytest.mark.parametrize("profile", list(OPENSSL_OPTIONS))
def test_java_reads_pkcs12(issued: Issued, profile: str) -> None:
    """The key with its chain up to the root, and the truststore, whose certificate counts as trusted."""
    key, chain = issued.leaf(KINDS[2])
    files = write(key, chain, pkcs12={"profile": profile})
    whole = _split(chain.certificates + chain.root)
    opened = keytool.entries(files["keystore.p12"], PASSWORD)
    assert opened == {"1": keytool.Entry(trusted=False, certificates=whole)}
    assert _public(keytool.private_key(files["keystore.p12"], PASSWORD, alias="1")) == _public_of(key)
    trusted = keytool.entries(files["truststore.p12"], PASSWORD)
    assert trusted == {"ca": keytool.Entry(trusted=True, certificates=_split(chain.root))}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("profile", list(OPENSSL_OPTIONS))
def test_openssl_reads_pkcs12(issued: Issued, profile: str, kind: KeySpec) -> None:
    """Key, leaf, and the certificates above it."""
    key, chain = issued.leaf(kind)
    files = write(key, chain, pkcs12={"profile": profile})
    data, options = files["keystore.p12"], OPENSSL_OPTIONS[profile]
    assert _public(keytool.pkcs12(data, PASSWORD, "-nocerts", *options)) == _public_of(key)
    assert _split(keytool.pkcs12(data, PASSWORD, "-nokeys", *options)) == _split(chain.certificates + chain.root)
    assert keytool.pkcs12(data, PASSWORD, "-nokeys", "-clcerts", *options) == _split(chain.certificates)[0]
    with pytest.raises(keytool.Refused, match="invalid password"):
        keytool.pkcs12(data, PASSWORD[:-1], *options)


def test_openssl_needs_no_legacy_for_the_default(issued: Issued) -> None:
    """Modern2023 is what is written where no profile is named."""
    key, chain = issued.leaf(KINDS[2])
    assert write(key, chain, pkcs12={}) == write(key, chain, pkcs12={"profile": "Modern2023"})
    assert _public(keytool.pkcs12(write(key, chain, pkcs12={})["keystore.p12"], PASSWORD, "-nocerts")) == _public_of(
        key
    )


@pytest.mark.parametrize("length", range(8))
def test_rc2_of_every_length(issued: Issued, length: int) -> None:
    """Whatever the last block is filled with, and whatever key comes of the salt, OpenSSL decrypts it."""
    key, _ = issued.leaf(KINDS[2])
    chain = issued.below.leaf({"commonName": "a" * (length + 1), "usages": ["digital signature"]})
    files = write(key, bundle(chain, issued.below.issuer.chain), pkcs12={"profile": "LegacyRC2"})
    found = keytool.pkcs12(files["keystore.p12"], PASSWORD, "-nokeys", "-clcerts", "-legacy")
    assert found == bundle(chain, issued.below.issuer.chain).certificates[: len(found)]


def test_a_truststore_may_hold_several(issued: Issued) -> None:
    """While one root takes over from another, `ca.crt` has both, and so have the truststores."""
    key, chain = issued.leaf(KINDS[2])
    other = bundle(Authority.root(Keys(), ThrowawayKeys()).issuer.chain[0], ()).root
    files = write(key, Bundle(chain.certificates, chain.root + other), jks={}, pkcs12={})
    expected = {
        "ca": keytool.Entry(trusted=True, certificates=_split(chain.root)),
        "ca-2": keytool.Entry(trusted=True, certificates=_split(other)),
    }
    assert keytool.entries(files["truststore.jks"], PASSWORD) == expected
    assert keytool.entries(files["truststore.p12"], PASSWORD) == expected


def test_without_a_root_there_is_no_truststore(issued: Issued) -> None:
    """There would be nothing in it."""
    key, chain = issued.leaf(KINDS[2])
    assert set(write(key, Bundle(chain.certificates, b""), jks={}, pkcs12={})) == {"keystore.jks", "keystore.p12"}


def _split(pem: bytes) -> tuple[bytes, ...]:
    end = b"-----END CERTIFICATE-----\n"
    return tuple(part + end for part in pem.split(end)[:-1])


def _public_of(key: PrivateKey) -> bytes:
    return _public(to_pem(key, "PKCS8"))


def _public(pem: bytes) -> bytes:
    command = ["openssl", "pkey", "-pubout"]
    return subprocess.run(command, input=pem, capture_output=True, check=True, timeout=20).stdout
