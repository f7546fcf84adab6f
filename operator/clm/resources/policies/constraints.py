"""Bounds on the lifetime and the key of what a Policy issues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from clm.resources.keys import KeyAlgorithm
    from clm.resources.reading import Reader


_ALGORITHMS: tuple[KeyAlgorithm, ...] = ("RSA", "ECDSA", "Ed25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Bounds on lifetime and key; None and a missing algorithm: unbounded. Sizes are in bits."""

    min_duration: timedelta | None = None
    max_duration: timedelta | None = None
    algorithms: tuple[KeyAlgorithm, ...] | None = None
    min_size: Mapping[KeyAlgorithm, int] = field(default_factory=dict)
    max_size: Mapping[KeyAlgorithm, int] = field(default_factory=dict)
    rotation_policy: str | None = None


def read_constraints(reader: Reader) -> Constraints:
    """Read `constraints`; what is absent is not bounded."""
    key = reader.child("privateKey")
    reader.refuse_empty("minDuration", "maxDuration")
    shortest, longest = reader.duration("minDuration"), reader.duration("maxDuration")
    if shortest is not None and longest is not None and shortest > longest:
        reader.problem("minDuration", "must not be more than maxDuration")
    return Constraints(
        min_duration=shortest,
        max_duration=longest,
        algorithms=_algorithms(key),
        min_size=_sizes(key.child("minSize")),
        max_size=_sizes(key.child("maxSize")),
        rotation_policy=key.choice("rotationPolicy", ("", "Always", "Never"), default="") or None,
    )


def _algorithms(reader: Reader) -> tuple[KeyAlgorithm, ...] | None:
    reader.refuse_empty("algorithms")
    named = reader.texts("algorithms")
    for index, name in enumerate(named):
        if name not in _ALGORITHMS:
            reader.problem(f"algorithms[{index}]", f'"{name}" is not one of ' + ", ".join(_ALGORITHMS))
    return tuple(algorithm for algorithm in _ALGORITHMS if algorithm in named) or None


def _sizes(reader: Reader) -> dict[KeyAlgorithm, int]:
    sizes = {algorithm: reader.integer(algorithm, minimum=1) for algorithm in _ALGORITHMS}
    return {algorithm: size for algorithm, size in sizes.items() if size is not None}
