"""The acts of the audit logs for docs/audit.md: those that are recorded now, and names that are kept for later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.resources.audit import TAXONOMY, taxonomy_table
from clm.resources.key_states import ACTS

if TYPE_CHECKING:
    from pathlib import Path


def actions_part(root: Path) -> str:
    """Write the table of acts that something records, and the list of those that nothing records yet."""
    recorded = _recorded(root)
    head, rule, *rows = taxonomy_table().splitlines()
    kept = [row for row, action in zip(rows, TAXONOMY, strict=True) if action in recorded]
    later = [f"`{action}` ({act.meaning.rstrip('.')})" for action, act in TAXONOMY.items() if action not in recorded]
    text = "\n".join((head, rule, *kept)) + "\n"
    return text if not later else f"{text}\nNothing records these yet; their names are settled: {', '.join(later)}.\n"


def _recorded(root: Path) -> set[str]:
    """Acts that the code or a migration names, and changes of a key's state, whose names are put together."""
    files = (*(root / "operator").rglob("*.py"), *(root / "migrations").rglob("*.sql"))
    list_of_acts = root / "operator" / "clm" / "resources" / "audit.py"
    source = "\n".join(file.read_text(encoding="utf-8") for file in files if file != list_of_acts)
    named = {action for action in TAXONOMY if f'"{action}"' in source or f"'{action}'" in source}
    return named | {f"key.{act}" for act in ACTS}
