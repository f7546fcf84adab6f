"""Several problems told at once, so that whoever reads them can mend all of them before trying again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from clm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_Built = TypeVar("_Built")

MESSAGE_LIMIT = 32_768
"""Characters that the message of a condition may have (metav1.Condition)."""

_MOST = MESSAGE_LIMIT - 768
"""What is left for problems: before them stand the names of a Policy or of a field."""


def together(problems: Sequence[str], *, most: int = _MOST) -> str:
    """Write as many problems as fit into `most` characters, each whole, and how many more there are.

    >>> together(["a is wrong", "b is wrong", "c is wrong"], most=25)
    'a is wrong; and 2 more'
    """
    whole = "; ".join(problems)
    if len(whole) <= most:
        return whole
    left = most - len(f"and {len(problems)} more")
    shown = 0
    for problem in problems:
        left -= len(problem) + 2
        if left < 0:
            break
        shown += 1
    shown = max(shown, 1)
    rest = len(problems) - shown
    return "; ".join([*problems[:shown], f"and {rest} more"]) if rest else problems[0]


def refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raise one InvalidInput that names the first field and tells all problems; nothing if there are none."""
    if problems:
        (field, first), *others = problems
        raise InvalidInput(field, together([first, *(f"{path}: {message}" for path, message in others)]))


def build_all(makers: Iterable[Callable[[], _Built]]) -> list[_Built]:
    """Call every maker. Raises one InvalidInput that tells what all those found that raised one."""
    built: list[_Built] = []
    problems: list[tuple[str, str]] = []
    for make in makers:
        try:
            built.append(make())
        except InvalidInput as error:
            problems.append((error.field, error.message))
    refuse(problems)
    return built
