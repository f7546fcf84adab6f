"""What the pages refer to is there: files and headings, commands and their options, settings and other names."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import click
import pytest

from clm.cli.main import main
from tests.docs.pages import PAGES, ROOT, anchors, code, inline_tokens, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = "benchmarks|config|crds|deploy|docs|examples|hack|migrations|operator|requirements|tests"
_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./*-]+")
_OURS = re.compile(r"\bclm_[a-z0-9_]+\b")
_VARIABLE = re.compile(r"\bCLM_[A-Z0-9_]+\b")
_SOURCES = ("operator", "migrations", "deploy", "hack", "benchmarks", "tests/e2e")
_MADE_LATER = {"benchmarks/results", "deploy/compose/state"}
_WORD = re.compile(r"[a-z][a-z-]*")

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@cache
def sources() -> str:
    """Text of everything that names things."""
    files = (path for folder in _SOURCES for path in (ROOT / folder).rglob("*") if path.is_file())
    return "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in files if path.suffix != ".pyc")


def links(page: Path) -> Iterator[str]:
    """Where the links of a page lead."""
    for token in inline_tokens(page):
        if token.type == "link_open":
            yield str(token.attrs["href"])


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of CLM in a page, as words after `clm`."""
    for text in code(page):
        for line in text.replace("\\\n", " ").splitlines():
            for found in re.finditer(r"(?:^|(?<=[\s/(;`]))clm (?=[a-z-])", line):
                yield words(line[found.end() :])


def words(line: str) -> list[str]:
    """Words of a command up to its end."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";)|&`>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found: list[str] = []
    try:
        for word in lexer:
            if word[0] in ";)|&`>":
                break
            found.append(word.rstrip(",.:"))
    except ValueError:
        found += line.split()[len(found) :]
    return found


def wrong_with(command: list[str]) -> str | None:
    """What of a command line does not exist; None if all of it does."""
    at: click.Command = main
    rest = list(command)
    while isinstance(at, click.Group) and rest and _WORD.fullmatch(rest[0]):
        found = at.get_command(click.Context(at), rest[0])
        if found is None:
            return rest[0]
        at = found
        rest.pop(0)
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.partition("=")[0] for word in rest if word.startswith("--")}
    return ", ".join(sorted(options - known - {"--help", "--version"})) or None


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link leads to a file that is there, and to a heading that it has."""
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = unquote(link).partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path), link


@pages
def test_commands_exist(page: Path) -> None:
    """Every command that is named is one, with the options that it is named with."""
    wrong = {" ".join(command): problem for command in commands(page) if (problem := wrong_with(command))}
    assert wrong == {}


@pages
def test_files_exist(page: Path) -> None:
    """A path that stands as code is one of the repository."""
    for text in code(page):
        for path in _PATH.findall(text) if " " not in text.strip() else ():
            assert path.rstrip("/.") in _MADE_LATER or list(ROOT.glob(path.rstrip("/."))), path


@pages
def test_names_exist(page: Path) -> None:
    """Settings, metrics, roles, schemas and whatever else of ours has a name is called so in the code."""
    for text in code(page):
        for name in (*_OURS.findall(text), *_VARIABLE.findall(text)):
            setting = name.removeprefix("CLM_").lower() if name.startswith("CLM_") else name
            assert name in sources() or setting in sources(), name


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """The readers of this file are not blind."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c.\n\n# A b c\n\n`clm chekc`, `clm check --bad` and `.venv/bin/clm audit verify -o json`\n"
    )
    assert anchors(page) == {"a-b-c", "a-b-c-1"}
    assert [wrong_with(command) for command in commands(page)] == ["chekc", "--bad", None]
    assert Path(name_of(ROOT / "README.md")) == Path("README.md")
