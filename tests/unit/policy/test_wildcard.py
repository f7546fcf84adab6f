"""`*` stands for any run of characters, and for nothing else; matching takes linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clm.policy.wildcard import matches, matches_any

TEXTS = st.text(alphabet="ab.*\n", max_size=12)


def reference(pattern: str, value: str) -> bool:
    """Say the same with a regular expression."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value, re.DOTALL) is not None


@given(TEXTS, TEXTS)
@example("a*a", "a")
@example("*", "")
@example("a**b", "ab")
@example("*ab*ab*", "abab")
@example("ab*ba", "aba")
def test_it_agrees_with_a_regular_expression(pattern: str, value: str) -> None:
    """For every pattern and value."""
    assert matches(pattern, value) == reference(pattern, value)


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, min_size=1, max_size=5))
def test_whatever_fills_the_gaps_fits(fillings: list[str], parts: list[str]) -> None:
    """A value made from a pattern by filling its wildcards matches it."""
    parts = [part.replace("*", "") for part in parts]
    value = parts[0] + "".join(
        (fillings[index % len(fillings)] if fillings else "") + part for index, part in enumerate(parts[1:])
    )
    assert matches("*".join(parts), value)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("*.shop.svc", "web.shop.svc", True),
        ("*.shop.svc", "a.b.shop.svc", True),
        ("*.shop.svc", "*.shop.svc", True),
        ("*.shop.svc", "shop.svc", False),
        ("*.shop.svc", "web.shop.svc.evil.example", False),
        ("web.*", "web.", True),
        ("web.shop.svc", "webXshopXsvc", False),
        ("Web", "web", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_names(pattern: str, value: str, expected: bool) -> None:  # noqa: FBT001
    """As in cert-manager's approver-policy; a wildcard name is text like any other."""
    assert matches(pattern, value) == expected
    assert matches_any(("nothing", pattern), value) == expected


def test_hostile_patterns_cost_little() -> None:
    """What takes a backtracking matcher longer than the universe's age takes milliseconds of processor time."""
    began = time.process_time()
    assert not matches("*a" * 500 + "b", "a" * 100_000)
    assert not matches("*" * 5_000 + "b", "a" * 10_000)
    assert time.process_time() - began < 1
