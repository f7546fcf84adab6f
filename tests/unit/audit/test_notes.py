"""Notes read back as they were written, and nothing that was changed passes for one."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from clm.audit.anchor import (
    GivenUp,
    anchor_of,
    end_name,
    ends_of,
    gather_keys,
    give_up,
    given_up_of,
    read_anchors,
    read_public_keys,
)
from clm.audit.checkpoint import Checkpoint, Origin, SignedNote, public_pem, sign_note
from clm.audit.manifest import Manifest
from clm.errors import NoteInvalid
from clm.resources.audit import TAXONOMY, Action, taxonomy_table

digests = st.binary(min_size=32, max_size=32)
origins = st.builds(Origin, st.uuids(), st.sampled_from(["clm_secure_db", "clm_core_db"]))
counts = st.integers(1, 2**63)
checkpoints = st.builds(
    Checkpoint,
    origin=origins,
    batch=counts,
    root=digests,
    epoch=counts,
    from_xid=counts,
    to_xid=counts,
    records=counts,
    total=counts,
    previous=digests,
    sealed_at=st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis's way
)
positions = st.frozensets(st.integers(0, 50), max_size=10)
manifests = st.builds(
    Manifest,
    origin=origins,
    month=st.dates(date(2000, 1, 1), date(2999, 1, 1)).map(lambda day: day.replace(day=1)),
    records=counts,
    root=digests,
    first_batch=counts,
    last_batch=counts,
    partial=st.dictionaries(counts, positions, max_size=3),
    witnesses=st.dictionaries(
        counts, st.frozensets(digests.map(lambda digest: f"audit_log_2026_01/{digest.hex()}"), min_size=1), max_size=2
    ),
    files=st.dictionaries(st.sampled_from(["records.jsonl.gz", "seals.jsonl.gz"]), digests.map(bytes.hex)),
)


class Signer:
    """A key in memory."""

    def __init__(self) -> None:
        self.key_id = uuid.uuid4()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign(self, data: bytes) -> bytes:
        """Sign."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


SIGNER = Signer()


def signed(text: str) -> SignedNote:
    """Sign a text."""
    return asyncio.run(sign_note(text, SIGNER))


@given(checkpoints)
def test_checkpoint_reads_back(checkpoint: Checkpoint) -> None:
    """A checkpoint is its text."""
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(manifests)
def test_manifest_reads_back(manifest: Manifest) -> None:
    """A manifest is its text."""
    assert Manifest.parse(manifest.text()) == manifest


@given(checkpoints, st.data())
def test_one_way_to_write_it(checkpoint: Checkpoint, data: st.DataObject) -> None:
    """A text that differs anywhere is another checkpoint, or none."""
    text = checkpoint.text()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.characters(max_codepoint=127).filter(lambda new: new != text[at])) + text[at + 1 :]
    )
    with contextlib.suppress(NoteInvalid):
        assert Checkpoint.parse(changed) != checkpoint


def test_signature() -> None:
    """A signed note reads back and verifies under its key, and under no other."""
    note = SignedNote.parse(str(signed("a text\nof two lines\n")))
    note.verify([SIGNER.spki])
    note.verify([Signer().spki, SIGNER.spki])
    with pytest.raises(NoteInvalid, match="not trusted"):
        note.verify([Signer().spki])
    with pytest.raises(NoteInvalid, match="not trusted"):
        note.verify([])


def test_changed_text() -> None:
    """The signature is over the text."""
    note = SignedNote.parse(str(signed("a text\n")).replace("a text", "b text"))
    with pytest.raises(NoteInvalid, match="does not verify"):
        note.verify([SIGNER.spki])


@pytest.mark.parametrize("note", ["", "text\n", "text\n\n— x\n", "text\n\n— clm-audit-sealing/1 AAAA\n"])
def test_no_note(note: str) -> None:
    """What is no note is said to be none."""
    with pytest.raises(NoteInvalid):
        SignedNote.parse(note)


def test_wrong_signature_is_not_given_out() -> None:
    """What the signer gave is verified before anybody sees it."""

    class Broken(Signer):
        async def sign(self, data: bytes) -> bytes:
            return await super().sign(data + b"!")

    with pytest.raises(NoteInvalid):
        asyncio.run(sign_note("a text\n", Broken()))


def test_key_of_another_algorithm() -> None:
    """A public key that is not for ECDSA is no sealing key."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    with pytest.raises(NoteInvalid, match="ECDSA"):
        public_pem(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_public_keys_of_a_file() -> None:
    """A file may hold several keys, with words between."""
    other = Signer()
    text = f"# the old one\n{public_pem(other.spki)}\n# and ours\n{public_pem(SIGNER.spki)}"
    assert read_public_keys(text) == [other.spki, SIGNER.spki]
    with pytest.raises(NoteInvalid):
        read_public_keys("nothing")


@given(checkpoints)
def test_anchor_in_every_form(checkpoint: Checkpoint) -> None:
    """An anchor is read as a note, as data, and as the manifest of the ConfigMap."""
    note, database = signed(checkpoint.text()), checkpoint.origin.database
    as_yaml = "data:\n  " + database + ": |\n" + "".join(f"    {line}\n" for line in str(note).splitlines())
    for text in (str(note), as_yaml):
        assert anchor_of(read_anchors(text), database) == note
    assert anchor_of(read_anchors(str(note)), "another") is None
    with pytest.raises(NoteInvalid):
        read_anchors("[1, 2]")


def test_taxonomy_is_complete() -> None:
    """Every action that can be written has its meaning, and the table shows it."""
    assert tuple(TAXONOMY) == Action.__args__  # type: ignore[attr-defined]
    assert all(f"`{name}`" in taxonomy_table() for name in TAXONOMY)


def test_what_is_given_up_is_numbered() -> None:
    """A second anchor that is given up stands beside the first, also where the first was taken away or is garbage."""
    data = give_up({}, "clm_core_db", ["one", "two\n"], accepted=5)
    data |= give_up(data, "clm_core_db", ["three"], accepted=2)
    data |= give_up(data, "clm_secure_db", ["other"], accepted=1)
    assert given_up_of(data, "clm_core_db") == [GivenUp("one", 5), GivenUp("two\n", 5), GivenUp("three", 2)]
    assert given_up_of(data, "clm_secure_db") == [GivenUp("other", 1)]
    del data["clm_core_db.superseded.1"]
    assert list(give_up(data, "clm_core_db", ["four"], accepted=2)) == ["clm_core_db.superseded.4"]


def test_what_is_given_up_with_another() -> None:
    """With an anchor go the earlier ones of the same lost end; not what was accepted, nor what was sealed since."""
    signer = Signer()

    def note(batch: int, minute: int) -> str:
        made = Checkpoint(
            origin=Origin(uuid.UUID(int=1), "clm_core_db"), batch=batch, root=bytes(32), epoch=1, from_xid=1, to_xid=2,
            records=1, total=1, previous=bytes(32), sealed_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
        )  # fmt: skip
        return str(asyncio.run(sign_note(made.text(), signer)))

    given = GivenUp(note(8, 8), accepted=5)
    assert given.covers(note(8, 8))
    assert given.covers(note(6, 6))
    assert not given.covers(note(5, 5))
    assert not given.covers(note(6, 20))
    assert not given.covers(note(9, 9))
    assert not given.covers("garbage")
    assert GivenUp("garbage", accepted=5).covers("garbage")


def test_keys_are_gathered_from_what_can_be_read() -> None:
    """Garbage among public keys takes none of them away."""
    one, two = Signer().spki, Signer().spki
    text = f"garbage -----END PUBLIC KEY-----\n{public_pem(one)}"
    assert gather_keys([text, "", public_pem(one)], [two, one]) == [one, two]


def test_ends_of_compromised_keys() -> None:
    """An empty end is trust for nothing, and a name that is none is no end."""
    name = end_name("clm_core_db", b"key")
    assert list(ends_of({name: "", "clm_secure_db": ""}, "clm_core_db").values()) == [None]
    with pytest.raises(NoteInvalid):
        ends_of({"clm_core_db.compromised.x": ""}, "clm_core_db")
