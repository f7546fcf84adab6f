"""Which pages are generated, and from what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hack.reference.actions import actions_part
from hack.reference.companion import read_companion
from hack.reference.schema import reference_page
from hack.reference.settings_page import settings_page
from hack.reference.summary import summary_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.storage.migration_files import DatabaseName
    from hack.reference.catalog import Catalog

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DATABASES: dict[DatabaseName, str] = {"secure": "clm_secure_db", "core": "clm_core_db"}

_BEGIN, _END = "<!-- begin generated: {} -->\n", "<!-- end generated: {} -->\n"


def documents(catalogs: Mapping[str, Catalog]) -> dict[Path, str]:
    """Text of every page that is generated, wholly or in part."""
    companions = {name: read_companion(DOCS / "schema-reference.d" / f"{name}.yaml") for name in catalogs}
    audit = (DOCS / "audit.md").read_text(encoding="utf-8")
    return {
        DOCS / "schema-reference.md": reference_page(list(catalogs.values()), companions),
        DOCS / "schema-summary.md": summary_page(list(catalogs.values())),
        DOCS / "settings.md": settings_page(),
        DOCS / "audit.md": replace_part(audit, "actions", actions_part(ROOT)),
    }


def replace_part(page: str, name: str, text: str) -> str:
    r"""Put text between the two marks of that name. Raises ValueError where they are missing.

    >>> replace_part("a\n<!-- begin generated: x -->\nold\n<!-- end generated: x -->\nb\n", "x", "new\n")
    'a\n<!-- begin generated: x -->\nnew\n<!-- end generated: x -->\nb\n'
    """
    begin, end = _BEGIN.format(name), _END.format(name)
    before, found, rest = page.partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise ValueError(f"the page has no part {name}")
    return f"{before}{begin}{text}{end}{after}"
