"""Why a Certificate may not be issued, and the one comparison that most reasons come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.pki.text import quoted
from clm.policy.wildcard import matches_any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clm.resources.policy import AllowedValues

_SHOWN = 8
"""Allowed values that a message lists: it ends up in a condition, once for every violation."""


class Violation(NamedTuple):
    """One reason why a Certificate may not be issued: the field, the rule, and what to change."""

    field: str
    rule: str
    message: str


def values_are_allowed(
    field: str, rule: str, values: Sequence[str], allowed: AllowedValues | None, *, indexed: bool = True, what: str = ""
) -> Iterator[Violation]:
    """Hold the values of a field against those that are allowed, and see that a required one is there.

    `indexed`: the field is a list, and its values are told by their place. `what` tells a part of the field from
    others, for the message.
    """
    kind = f"{what} " if what else ""
    if allowed is not None and allowed.required and not values:
        yield Violation(field, rule, f"{field}: {kind}is required")
    patterns = allowed.values if allowed is not None else ()
    for index, value in enumerate(values):
        if not matches_any(patterns, value):
            yield not_allowed(f"{field}[{index}]" if indexed else field, rule, value, patterns, what=what)


def not_allowed(field: str, rule: str, value: str, allowed: tuple[str, ...], *, what: str = "") -> Violation:
    """Tell that a value is not among those that are allowed, and which are."""
    kind = f"{what} " if what else ""
    listed = f"allowed: {_listed(allowed)}" if allowed else f"none is allowed (spec.{rule})"
    return Violation(field, rule, f"{field}: {kind}{quoted(value)} is not allowed; {listed}")


def _listed(allowed: tuple[str, ...]) -> str:
    shown = ", ".join(allowed[:_SHOWN])
    return f"{shown} and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else shown
