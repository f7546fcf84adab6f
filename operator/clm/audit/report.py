"""What a verification has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clm.audit.checkpoint import Checkpoint

SHOWN = 1000
"""Problems that are kept one by one; of more, only the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it was sealed, and where: as closely as can be told."""

    what: str
    batch: int | None = None
    position: int | None = None
    record: str | None = None

    def place(self) -> str:
        """The place in words."""
        parts = [
            f"batch {self.batch}" if self.batch is not None else "",
            f"position {self.position}" if self.position is not None else "",
            f"record {self.record}" if self.record is not None else "",
        ]
        return ", ".join(part for part in parts if part) or "log"


@dataclass(slots=True)
class Report:
    """One log: what was looked at, and what is wrong with it."""

    database: str
    batches: int = 0
    records: int = 0
    archived: int = 0
    unsealed: int = 0
    unsealed_since: str | None = None
    newest: Checkpoint | None = None
    anchored: Checkpoint | None = None
    given_up: list[str] = field(default_factory=list)
    keys_from_source: bool = False
    found: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(
        self, what: str, *, batch: int | None = None, position: int | None = None, record: str | None = None
    ) -> None:
        """Note a problem."""
        self.found += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(what=what, batch=batch, position=position, record=record))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "database": self.database,
            "ok": self.found == 0,
            "batches": self.batches,
            "records": self.records,
            "archived": self.archived,
            "unsealed": self.unsealed,
            "unsealedSince": self.unsealed_since,
            "newestBatch": self.newest.batch if self.newest is not None else None,
            "anchoredBatch": self.anchored.batch if self.anchored is not None else None,
            "givenUpAnchors": self.given_up,
            "keysFromDatabase": self.keys_from_source,
            "problemsFound": self.found,
            "problems": [
                {
                    "batch": problem.batch,
                    "position": problem.position,
                    "record": problem.record,
                    "what": problem.what,
                }
                for problem in self.problems
            ],
        }
