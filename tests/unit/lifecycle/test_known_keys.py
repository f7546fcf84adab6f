"""The installation's lists of keys: what is on them is found, and a list that cannot be read stops what needs it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clm.errors import FileUnavailable, InvalidInput
from clm.lifecycle.known_keys import KnownKeys
from clm.pki.keys import spki_der
from clm.pki.weak_keys import number_of
from tests.unit.pki.requests import KEY, csr, spec_of

if TYPE_CHECKING:
    from pathlib import Path

SPKI = hashlib.sha256(spki_der(KEY.public_key())).digest()
NUMBER = hashlib.sha256(number_of(KEY.public_key())).digest()
OTHER = bytes(range(32))


@pytest.mark.parametrize(
    "line", [SPKI.hex(), SPKI.hex().upper() + "  # stolen", f"# first\n\n{OTHER.hex()}\n{SPKI.hex()}"]
)
def test_the_list_of_the_installation(tmp_path: Path, line: str) -> None:
    """A request with a key on it is refused, and says by which list."""
    path = tmp_path / "blocked"
    path.write_text(f"{line}\n")
    with pytest.raises(InvalidInput, match="this installation's list"):
        spec_of(csr(), KnownKeys(hashes=path))


def test_a_key_that_is_on_no_list(tmp_path: Path) -> None:
    """All others pass."""
    path = tmp_path / "blocked"
    path.write_text(f"{OTHER.hex()}\n")
    assert spec_of(csr(), KnownKeys(hashes=path)).signing_request is not None
    assert KnownKeys().find(spki_sha256=SPKI, number_sha256=NUMBER) is None


def test_an_update_counts_at_once(tmp_path: Path) -> None:
    """Nothing is kept: no restart is needed for a key that has just become known."""
    path = tmp_path / "blocked"
    path.write_text("")
    known = KnownKeys(hashes=path)
    assert known.find(spki_sha256=SPKI, number_sha256=NUMBER) is None
    path.write_text(SPKI.hex())
    assert known.find(spki_sha256=SPKI, number_sha256=NUMBER) is not None


@pytest.mark.parametrize("content", [b"abc", SPKI.hex().encode() + b"00", b"\xff\xfe"])
def test_a_wrong_list_of_hashes(tmp_path: Path, content: bytes) -> None:
    """It is told with its line, and no key passes by it."""
    path = tmp_path / "blocked"
    path.write_bytes(content)
    with pytest.raises(FileUnavailable, match=str(path)):
        KnownKeys(hashes=path).check()


@pytest.mark.parametrize("content", [b"", bytes(17)])
def test_a_wrong_blocklist(tmp_path: Path, content: bytes) -> None:
    """Neither an empty file nor one of another format counts as a list that knows no key."""
    path = tmp_path / "blocklist.dat"
    path.write_bytes(content)
    with pytest.raises(FileUnavailable, match=str(path)):
        KnownKeys(badkeys=path).check()


def test_a_missing_list(tmp_path: Path) -> None:
    """A list that went away stops what needs it, and does not let everything pass."""
    for known in (KnownKeys(hashes=tmp_path / "none"), KnownKeys(badkeys=tmp_path / "none")):
        with pytest.raises(FileUnavailable):
            spec_of(csr(), known)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listed=st.sets(st.binary(min_size=15, max_size=15), min_size=1, max_size=40),
    other=st.binary(min_size=15, max_size=15),
)
def test_the_blocklist_of_badkeys(tmp_path: Path, listed: set[bytes], other: bytes) -> None:
    """Every entry of the sorted file is found, whichever its place, and nothing else."""
    path = tmp_path / "blocklist.dat"
    path.write_bytes(b"".join(digest + b"\x01" for digest in sorted(listed)))
    known = KnownKeys(badkeys=path)
    for digest in listed:
        assert known.find(spki_sha256=bytes(32), number_sha256=digest + bytes(17)) == "it is on badkeys' blocklist"
    assert (known.find(spki_sha256=bytes(32), number_sha256=other + bytes(17)) is not None) == (other in listed)


def test_a_request_with_a_key_of_the_blocklist(tmp_path: Path) -> None:
    """Found by the number, whatever the encoding of the key."""
    path = tmp_path / "blocklist.dat"
    path.write_bytes(NUMBER[:15] + b"\x02")
    with pytest.raises(InvalidInput, match="badkeys' blocklist"):
        spec_of(csr(), KnownKeys(badkeys=path))
    assert spec_of(csr(key=ec.generate_private_key(ec.SECP256R1())), KnownKeys(badkeys=path)).dns_names
