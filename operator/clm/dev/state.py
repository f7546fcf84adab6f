"""Where the environment keeps what must outlive it: one folder, removed as a whole by `clm dev down --delete`."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOT_STATE = Path("/var/lib/clm-dev")
_PRIVATE = 0o700
_TRAVERSABLE = 0o711
_MARKER = ".clm-dev"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The layout. Every path below is private to its owner; PostgreSQL's folders belong to its own user."""

    root: Path

    @property
    def control_plane(self) -> Path:
        """Data, certificates and kubeconfigs of etcd and the API server."""
        return self.root / "control-plane"

    @property
    def token(self) -> Path:
        """SoftHSM configuration, token objects and PIN files."""
        return self.root / "token"

    @property
    def logs(self) -> Path:
        """Logs of every process, one file each; kept over restarts."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Records of the processes that run."""
        return self.root / "run"

    @property
    def environment_file(self) -> Path:
        """The operator's settings as shell assignments, for `set -a; . FILE`."""
        return self.root / "clm.env"

    def postgres(self, name: str) -> Path:
        """Folder of one PostgreSQL cluster."""
        return self.root / "postgres" / name

    def prepare(self) -> None:
        """Make the folders. Under root the path stays traversable, because PostgreSQL runs as another user."""
        mode = _TRAVERSABLE if os.geteuid() == 0 else _PRIVATE
        for folder in (self.root, self.root / "postgres"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        for folder in (self.control_plane, self.token, self.logs, self.run):
            folder.mkdir(mode=_PRIVATE, exist_ok=True)
        (self.root / _MARKER).touch()

    def delete(self) -> None:
        """Remove everything. Raises StartFailed for a folder that `prepare` did not make."""
        if not self.root.exists():
            return
        if not (self.root / _MARKER).exists():
            raise StartFailed(f"{self.root} was not made by clm dev, and is not removed")
        shutil.rmtree(self.root)

    def cluster_id(self, cluster: uuid.UUID, *, embedded: bool) -> uuid.UUID:
        """Id under which the databases know a cluster, given what identifies it: the same, with one exception.

        Folders of older releases have a random one, which they used for every cluster. It stays with the embedded
        cluster; where there is none, with the first one that comes.
        """
        file = self.root / "cluster.json"
        facts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if "id" in facts and "cluster" not in facts and (embedded or not (self.control_plane / "etcd").exists()):
            facts["cluster"] = str(cluster)
            write_private(file, json.dumps(facts, indent=2) + "\n")
        return uuid.UUID(facts["id"]) if facts.get("cluster") == str(cluster) else cluster

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder while the environment goes up or down. Raises StartFailed when another command holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartFailed(f"another clm dev command is at work in {self.root}") from None
            yield


def default_state_folder(environment: Mapping[str, str]) -> StateFolder:
    """Choose ``$CLM_DEV_STATE``, else /var/lib/clm-dev for root, else the user's XDG state home."""
    chosen = environment.get("CLM_DEV_STATE")
    if chosen:
        return StateFolder(Path(chosen).absolute())
    if os.geteuid() == 0:
        return StateFolder(_ROOT_STATE)
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return StateFolder(Path(home) / "clm-dev")


def write_private(path: Path, text: str | bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
