"""What a table of a command shows can be copied from it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from clm.cli.tables import listing, print_listing

if TYPE_CHECKING:
    import pytest


def test_no_value_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal: an id that is shown by half names nothing."""
    monkeypatch.setenv("COLUMNS", "40")
    ids = [str(uuid.UUID(int=number)) for number in range(3)]
    table = listing("ID", "Label", "Needed by")
    for number, key_id in enumerate(ids):
        table.add_row(key_id, f"clm-ca-clm-system-issuing-ca-v{number}", "1 certificates of its own")
    print_listing(table)
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "Label", "Needed", "by"]
    assert [row.split()[0] for row in rows] == ids
    assert all(row.rstrip().endswith("1 certificates of its own") for row in rows)
