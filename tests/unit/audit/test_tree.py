"""The trees are those of RFC 6962, and their proofs hold for what they are of and for nothing else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.audit.tree import TreeHasher, inclusion_path, leaf_hash, node_hash, root_by_path, root_of

# The entries and roots that implementations of Certificate Transparency are tested with.
ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]
# Index, size and path, from the same vectors.
PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]

hashes = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots(size: int) -> None:
    """The roots of the published vectors."""
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_empty() -> None:
    """The root of nothing is the hash of nothing (RFC 9162 2.1.1)."""
    assert root_of([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_paths(index: int, size: int, path: list[str]) -> None:
    """The paths of the published vectors."""
    assert [node.hex() for node in inclusion_path(LEAVES[:size], index)] == path


def _by_recursion(leaves: list[bytes]) -> bytes:
    """Root as RFC 9162 2.1.1 defines it, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_by_recursion(leaves[:split]), _by_recursion(leaves[split:]))


@given(st.lists(hashes, min_size=1, max_size=70))
def test_growing_is_recursion(leaves: list[bytes]) -> None:
    """A tree that grows leaf by leaf has the root of the recursive definition, at every size."""
    tree = TreeHasher()
    for number, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert tree.root() == _by_recursion(leaves[:number])


@given(st.data())
def test_path_leads_to_the_root(data: st.DataObject) -> None:
    """Every leaf's path leads to the root, and with one bit changed anywhere it does not."""
    leaves = data.draw(st.lists(hashes, min_size=1, max_size=40, unique=True))
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, root = inclusion_path(leaves, index), root_of(leaves)
    assert root_by_path(leaves[index], index=index, size=len(leaves), path=path) == root

    parts = [leaves[index], *path]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[which] = (int.from_bytes(parts[which], "big") ^ (1 << bit)).to_bytes(32, "big")
    assert root_by_path(parts[0], index=index, size=len(leaves), path=parts[1:]) != root


@given(st.data())
def test_path_is_of_one_place(data: st.DataObject) -> None:
    """A path does not prove the leaf at another index, nor with a node more or less."""
    leaves = data.draw(st.lists(hashes, min_size=2, max_size=40, unique=True))
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1).filter(lambda at: at != index))
    path, root, size = inclusion_path(leaves, index), root_of(leaves), len(leaves)
    assert root_by_path(leaves[other], index=other, size=size, path=path) != root or other == index
    assert root_by_path(leaves[index], index=index, size=size, path=path[:-1]) != root
    assert root_by_path(leaves[index], index=index, size=size, path=[*path, root]) != root
    assert root_by_path(leaves[index], index=size, size=size, path=path) is None
