"""docs/certificate-fields.md has every field of a Certificate, each with a test that reads the outcome back."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "certificate-fields.md"
READERS = {"OpenSSL": "openssl", "Go": "go_x509", "Java": "keytool", "API server": "world"}
"""Who may read an outcome back, and what a test that has it do so must name."""

_ROW = re.compile(r"^\| `(?P<field>[\w.]+)` \|(?P<text>[^|]+)\|(?P<reader>[^|]*)\| *`?(?P<test>[^|`]*)`? *\|$")


class Row(NamedTuple):
    """One line of the table."""

    field: str
    text: str
    reader: str
    test: str


def rows() -> list[Row]:
    """Read the table of fields."""
    lines = PAGE.read_text(encoding="utf-8").split("\n## ", 1)[0].splitlines()
    return [Row(*(part.strip() for part in found.groups())) for line in lines if (found := _ROW.match(line))]


def fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Iterate over the fields that hold values, in the order of the schema."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        inner = field.get("items", field)
        if inner.get("properties"):
            yield from fields(inner, here)
        else:
            yield here


@cache
def names_in(test: str) -> frozenset[str]:
    """Names that a test mentions, given as path::function; empty when there is no such test."""
    path, _, function = test.partition("::")
    file = ROOT / path
    if not (path.startswith("tests/") and file.is_file()):
        return frozenset()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == function and function.startswith("test_"):
            named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return frozenset(named | {argument.arg for argument in node.args.args})
    return frozenset()


def test_has_every_field_in_the_order_of_the_schema() -> None:
    """None is missing, none has gone."""
    definition = yaml.safe_load((ROOT / "crds" / "certificates.yaml").read_text(encoding="utf-8"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert [row.field for row in rows()] == list(fields(schema))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.field)
def test_each_is_read_back(row: Row) -> None:
    """The test is there and uses the program that the page names."""
    for reader in row.reader.split(", "):
        assert READERS[reader] in names_in(row.test), f"{row.test} is not there, or does not use {reader}"
