"""Problems are told all at once, and where they do not fit, up to a whole one and with their number."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.resources.problems import MESSAGE_LIMIT, build_all, refuse, together

_PROBLEM = st.text(st.characters(codec="ascii", exclude_characters=";", categories=("L", "Zs")), min_size=1)


@given(st.lists(_PROBLEM, min_size=1, max_size=30), st.integers(min_value=30, max_value=400))
def test_ends_at_a_whole_one(problems: list[str], most: int) -> None:
    """What is told is a beginning of the list, every problem whole, and the number of the others; and it fits."""
    told = together(problems, most=most)
    shown = told.split("; ")
    if len("; ".join(problems)) <= most:
        assert shown == problems
        return
    more = re.fullmatch(r"and (\d+) more", shown[-1])
    if more is None:
        assert told == problems[0], "a single one stays as it is, however long"
        return
    count = len(problems) - int(more[1])
    assert shown[:-1] == problems[:count]
    assert count >= 1
    assert len(told) <= most or count == 1


def test_as_many_as_fit() -> None:
    """Not fewer than fit, to the character."""
    problems = ["aaaa", "bbbb", "cccc", "dddd", "eeee"]
    assert together(problems, most=28) == "aaaa; bbbb; cccc; dddd; eeee"
    assert together(problems, most=27) == "aaaa; bbbb; and 3 more"
    assert together(problems, most=22) == "aaaa; bbbb; and 3 more"
    assert together(problems, most=21) == "aaaa; and 4 more"
    assert together(problems, most=1) == "aaaa; and 4 more"


def test_a_refusal_has_room_for_what_stands_before_it() -> None:
    """However many problems: the condition that tells them, behind a Policy's name, is within its limit."""
    with pytest.raises(InvalidInput) as caught:
        refuse([(f"spec.dnsNames[{number}]", "x" * 200) for number in range(1000)])
    assert MESSAGE_LIMIT - 1500 < len(str(caught.value)) < MESSAGE_LIMIT - 400
    assert re.search(r"x; and \d+ more$", str(caught.value))


def test_builds_all_or_tells_everything() -> None:
    """One error has every field; nothing is built by halves."""

    def make(value: int) -> int:
        if value % 2:
            raise InvalidInput(f"spec.a[{value}]", "is odd")
        return value

    assert build_all([partial(make, 2), partial(make, 4)]) == [2, 4]
    with pytest.raises(InvalidInput) as caught:
        build_all([partial(make, value) for value in range(5)])
    assert caught.value.field == "spec.a[1]"
    assert str(caught.value) == "spec.a[1]: is odd; spec.a[3]: is odd"
