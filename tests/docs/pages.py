"""The pages of the documentation, as the tests of them read them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "docs/decisions", "migrations", "requirements")
    for path in (ROOT / folder).glob("*.md")
)
"""Every page of the repository."""

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_MARK = re.compile(r"<!-- (?P<text>.*?) -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: its language, its text, and the HTML comment that stands right before it."""

    language: str
    text: str
    mark: str


def name_of(page: Path) -> str:
    """Path of a page in the repository."""
    return str(page.relative_to(ROOT))


@cache
def tokens(page: Path) -> list[Token]:
    """Everything in a page, one after the other."""
    return _MARKDOWN.parse(page.read_text(encoding="utf-8"))


def inline_tokens(page: Path) -> Iterator[Token]:
    """Links, code and text within the paragraphs of a page."""
    for token in tokens(page):
        yield from token.children or ()


def fences(page: Path) -> list[Fence]:
    """The fenced blocks of a page, in their order."""
    found, mark = [], ""
    for token in tokens(page):
        if token.type == "html_block" and (match := _MARK.search(token.content)):
            mark = match["text"]
        elif token.type == "fence":
            found.append(Fence(token.info, token.content, mark))
            mark = ""
        elif token.type == "paragraph_open":
            mark = ""
    return found


def code(page: Path) -> Iterator[str]:
    """All that stands as code in a page: spans, blocks and the lines of indented blocks."""
    for token in tokens(page):
        if token.type in {"fence", "code_block"}:
            yield token.content
        yield from (child.content for child in token.children or () if child.type == "code_inline")


@cache
def anchors(page: Path) -> frozenset[str]:
    """Names that a link may have after its #, as GitHub makes them of the headings."""
    seen: Counter[str] = Counter()
    found = set()
    every = tokens(page)
    for token, content in pairwise(every):
        if token.type != "heading_open":
            continue
        text = "".join(child.content for child in content.children or () if child.type in {"text", "code_inline"})
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return frozenset(found)
