"""Every parser of what others have written, fed with what is nearly right: it gives a result or its documented error.

The same targets run for longer, led by coverage, with `make fuzz`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.specs import specs
from tests.unit.pki import requests as written

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject, SearchStrategy

_LENGTHS = [b"\0", b"\1", b"\x7f", b"\x80", b"\x81", b"\x84", b"\xff"]


def nearly(seeds: tuple[bytes, ...]) -> SearchStrategy[bytes]:
    """A seed with up to four changes: octets replaced, taken out, put in or said twice; or no seed at all."""
    change = st.tuples(
        st.integers(0, 400),
        st.integers(0, 12),
        st.binary(max_size=8) | st.sampled_from(_LENGTHS),
    )
    changed = st.tuples(st.sampled_from(seeds), st.lists(change, min_size=1, max_size=4)).map(
        lambda pair: _changed(*pair)
    )
    return changed | changed | changed | st.binary(max_size=200)


def _changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, removed, added in changes:
        place = at % (len(seed) + 1)
        # Nothing to put in: what is there is said twice.
        put, rest = (added, seed[place + removed :]) if added else (seed[place : place + removed], seed[place:])
        seed = seed[:place] + put + rest
    return seed


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=150)
@given(data=st.data())
def test_octets(name: str, data: DataObject) -> None:
    """Only the documented error, whatever octets come."""
    target = targets.TARGETS[name]
    target.run(data.draw(nearly(target.seeds)))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds(name: str) -> None:
    """What the changes begin with is accepted: the targets reach all of their parsers."""
    for seed in targets.TARGETS[name].seeds:
        assert targets.TARGETS[name].run(seed)


def test_csr_of_no_version() -> None:
    """What make fuzz has found: the library has an exception of its own for it."""
    assert not targets.responder_csr(written.der_of(written.raw_csr(version=b"\x02\x01\x01")))


@settings(max_examples=300)
@given(specs(requests=targets.REQUESTS))
def test_certificate(spec: Any) -> None:
    """Only InvalidInput, whatever a spec says; or a certificate that can be read."""
    targets.spec(spec if isinstance(spec, dict) else {})
