"""Walks through two tables side by side, in the same order, so that memory does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from clm.lifecycle.pace import Pace

_Item = TypeVar("_Item")
_Left = TypeVar("_Left")
_Right = TypeVar("_Right")

_CHUNK = 1000


async def side_by_side(
    left: AsyncIterator[list[_Left]],
    right: AsyncIterator[list[_Right]],
    pace: Pace,
    *,
    order: Callable[[Any], Any],
) -> AsyncIterator[tuple[_Left | None, _Right | None]]:
    """Walk through two sequences of pages that are in order of `order`; what has no counterpart comes alone."""
    lefts, rights = _flat(left, pace), _flat(right, pace)
    one, other = await anext(lefts, None), await anext(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and order(one) < order(other)):
            yield one, None
            one = await anext(lefts, None)
        elif one is None or order(other) < order(one):
            yield None, other
            other = await anext(rights, None)
        else:
            yield one, other
            one, other = await anext(lefts, None), await anext(rights, None)


def chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Cut a sequence into parts that one query takes."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


async def _flat(pages: AsyncIterator[list[_Item]], pace: Pace) -> AsyncIterator[_Item]:
    async for page in pages:
        for item in page:
            yield item
        await pace.rest()
