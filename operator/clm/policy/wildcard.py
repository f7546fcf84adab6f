"""Wildcards in a Policy's values: `*` stands for any run of characters, none included."""

from __future__ import annotations


def matches(pattern: str, value: str) -> bool:
    """Tell whether the whole value fits the pattern, in time linear in their lengths.

    Every other character stands for itself, and case counts. There is no way to escape `*`, and no need: a pattern's
    `*` also fits the `*` of a wildcard DNS name.
    """
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == value
    *middle, tail = rest
    if len(value) < len(head) + len(tail) or not (value.startswith(head) and value.endswith(tail)):
        return False
    position, end = len(head), len(value) - len(tail)
    for part in middle:
        # The leftmost fit leaves the most room for the parts that follow.
        found = value.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def matches_any(patterns: tuple[str, ...], value: str) -> bool:
    """Tell whether the value fits one of the patterns."""
    return any(matches(pattern, value) for pattern in patterns)
