"""The migration files: where they are, and what can be told from a file alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from clm.errors import MigrationFailed

DatabaseName = Literal["secure", "core"]

_FILE_NAME = re.compile(r"(?P<version>\d{3,})_[a-z0-9_]+\.sql")
_COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z))*")
_STATEMENT_END = re.compile(r";[ \t]*(?:\n|\Z)")
_BEGIN = re.compile(r"BEGIN\s*;", re.IGNORECASE)
_COMMIT = re.compile(r"COMMIT\s*;\s*\Z", re.IGNORECASE)
_NO_TRANSACTION = re.compile(r"^--\s*clm:no-transaction\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One file of a migrations folder."""

    version: int
    path: Path
    text: str
    sha256: bytes

    @property
    def name(self) -> str:
        """File name without ``.sql``."""
        return self.path.stem

    @property
    def in_transaction(self) -> bool:
        """Whether it is applied whole or not at all; ``-- clm:no-transaction`` in a line of its own says no."""
        return _NO_TRANSACTION.search(self.text) is None

    @property
    def body(self) -> str:
        """The statements without the BEGIN and COMMIT around them: the runner has a transaction of its own.

        Raises MigrationFailed where one of the two is missing.
        """
        comments = _COMMENTS.match(self.text)
        text = self.text[comments.end() if comments else 0 :]
        begin, commit = _BEGIN.match(text), _COMMIT.search(text)
        if not (begin and commit):
            raise MigrationFailed(f"{self.path.name}: must begin with BEGIN; and end with COMMIT;")
        return text[begin.end() : commit.start()]

    @property
    def statements(self) -> list[str]:
        """The statements of a ``clm:no-transaction`` file, to be sent one by one as psql does.

        Sent together they would be one transaction. A statement ends where a line ends with a semicolon, so a
        file like this can define no function: MigrationFailed where one tries, or where it has a BEGIN.
        """
        if "$$" in self.text or _BEGIN.search(self.text):
            raise MigrationFailed(f"{self.path.name}: no function body and no BEGIN in a clm:no-transaction file")
        parts = (_COMMENTS.sub("", part) for part in _STATEMENT_END.split(self.text))
        return [part for part in parts if part]


def migrations_dir(database: DatabaseName) -> Path:
    """Folder of a database's migrations: in the installed package, or else in the checkout around it.

    Raises MigrationFailed when there is neither.
    """
    folder = f"clm_{database}_db"
    package = Path(str(files("clm")))
    for candidate in (package / "_migrations" / folder, package.parents[1] / "migrations" / folder):
        if candidate.is_dir():
            return candidate
    raise MigrationFailed(f"no migrations of {folder} are installed")


def roles_file() -> Path:
    """File that makes the roles, for an administrator. Raises MigrationFailed when no migrations are installed."""
    return migrations_dir("secure").parent / "roles.sql"


def read_migrations(folder: Path) -> list[MigrationFile]:
    """Read the ``NNN_name.sql`` files of a folder in order of their numbers.

    Raises MigrationFailed when a name is of another form, a number is missing or stands twice, or there is no file.
    """
    found: list[MigrationFile] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationFailed(f"{path.name}: must be named like 001_what_it_does.sql")
        octets = path.read_bytes()
        found.append(MigrationFile(int(match["version"]), path, octets.decode(), hashlib.sha256(octets).digest()))
    found.sort(key=lambda file: file.version)
    for expected, file in enumerate(found, start=1):
        if file.version != expected:
            raise MigrationFailed(
                f"{file.path.name}: expected number {expected:03}; numbers count from 001 without gaps"
            )
    if not found:
        raise MigrationFailed(f"no migrations in {folder.name}")
    return found
