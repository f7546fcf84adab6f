"""Which records of a batch differ from those that were sealed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clm.audit.leaf import Leaf


class Difference(NamedTuple):
    """One place: a sealed position without its record, a record without a sealed position, or both (it was changed).

    `before` is the position that the place lies before.
    """

    position: int | None
    leaf: Leaf | None
    before: int


def align(sealed: Sequence[bytes], standing: Sequence[Leaf]) -> Iterator[Difference]:
    """Compare in order. What is the same in both keeps its order: a record holds the ids that it is ordered by."""
    common = Counter(sealed) & Counter(leaf.hash for leaf in standing)
    matched: list[tuple[int, int]] = []
    here, there = 0, 0
    in_sealed, in_standing = Counter[bytes](), Counter[bytes]()
    kept_sealed = [at for at, value in enumerate(sealed) if _counts(in_sealed, value, common)]
    kept_standing = [at for at, leaf in enumerate(standing) if _counts(in_standing, leaf.hash, common)]
    matched = [*zip(kept_sealed, kept_standing, strict=True), (len(sealed), len(standing))]
    for position, at in matched:
        yield from _between(range(here, position), standing[there:at])
        here, there = position + 1, at + 1


def _counts(seen: Counter[bytes], value: bytes, common: Counter[bytes]) -> bool:
    seen[value] += 1
    return seen[value] <= common[value]


def _between(positions: range, leaves: Sequence[Leaf]) -> Iterator[Difference]:
    """Pair what is missing with what is new at the same place: most likely it was changed."""
    for number in range(max(len(positions), len(leaves))):
        position = positions[number] if number < len(positions) else None
        leaf = leaves[number] if number < len(leaves) else None
        yield Difference(position, leaf, positions.start + number if position is None else position)
