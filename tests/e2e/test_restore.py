"""Both databases restored to a point, the token put back, every Secret gone: all that was recorded stands again.

The commands are those of docs/backup-and-restore.md, read from there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clm.dev.databases import DATABASES, DevDatabase
from clm.dev.environment import Environment
from clm.dev.postgres_access import SUPERUSER
from clm.dev.state import StateFolder
from tests.e2e.manifests import CA_NAMESPACE, ISSUING, ROOT, certificate
from tests.e2e.world import REPOSITORY, World, wait
from tests.fix_world import prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.api import Manifest

_BLOCK = re.compile(r"<!-- run: (?P<name>[a-z-]+) -->\n *```sh\n(?P<text>.*?)\n *```", re.DOTALL)
_POINT = "before-the-mistake"
_NAMESPACE = "restored"


@dataclass(slots=True)
class Keeper:
    """Runs the commands of the how-to, and tells which of them it has run."""

    world: World
    folder: Path
    blocks: dict[str, str]
    done: set[str] = field(default_factory=set)

    def on_each_server(self, block: str) -> None:
        """Run a block for clm_secure_db, then for clm_core_db, as the user that the server runs as."""
        for name in DATABASES:
            cluster = DevDatabase(self.world.environment.state, name).cluster()
            account = cluster._account
            self._run(block, self._server(name), user=account.uid if account.is_other else None)

    def here(self, block: str, *, allowed: frozenset[int] = frozenset({0})) -> str:
        """Run a block as oneself, with the operator's settings and a `clm`; give its output."""
        token = self.world.environment.state.token
        variables = {
            **self.world.program_environment(),
            "TOKEN": str(token),
            "TOKEN_BACKUP": str(self.folder / "token"),
            "TOMBSTONES": str(self.folder / "tombstones.json"),
            "WHY": "restored to a point, by order of the drill",
        }
        variables["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{variables['PATH']}"
        return self._run(block, variables, allowed=allowed)

    def make_folders(self) -> None:
        """Make what the how-to expects: folders of each server's own, and the command `clm`."""
        for name in DATABASES:
            cluster = DevDatabase(self.world.environment.state, name).cluster()
            for path in (self.folder / name, self.folder / name / "archive", self.folder / name / "backup"):
                path.mkdir()
                if cluster._account.is_other:
                    os.chown(path, cluster._account.uid, cluster._account.gid)
        program = self.folder / "bin" / "clm"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m clm.cli.main "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def _server(self, name: Any) -> dict[str, str]:
        cluster = DevDatabase(self.world.environment.state, name).cluster()
        programs = Path(cluster.binaries.program("pg_ctl")).parent
        return {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LC_ALL": "C.UTF-8",
            "PGDATA": str(cluster.data),
            "PGHOST": str(cluster.socket),
            "PGPORT": str(cluster.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": cluster.access.password(SUPERUSER)[0],
            "PGLOG": str(cluster._server_log),
            "ARCHIVE": str(self.folder / name / "archive"),
            "BACKUP": str(self.folder / name / "backup"),
            "POINT": _POINT,
        }

    def _run(
        self,
        block: str,
        variables: dict[str, str],
        *,
        user: int | None = None,
        allowed: frozenset[int] = frozenset({0}),
    ) -> str:
        self.done.add(block)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            # A file, not a pipe: the server that pg_ctl starts inherits it.
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", self.blocks[block]],
                env=variables,
                user=user,
                extra_groups=[] if user is not None else None,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
            )
            output.seek(0)
            said = output.read()
        assert done.returncode in allowed, f"{block}: {said}"
        return said


@pytest.fixture
def own_world() -> Iterator[World]:
    """A world of this test alone: it is destroyed and put back."""
    folder = Path(tempfile.mkdtemp(prefix="clm-e2e-"))
    environment = Environment(StateFolder(folder), lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SWEEP", "AUDIT_SEAL", "AUDIT_ANCHOR"):
            patch.setenv(f"CLM_{name}_INTERVAL_S", "1")
        try:
            environment.up()
            yield from prepared(environment)
        finally:
            environment.down(delete=True)


@pytest.fixture
def keeper(own_world: World) -> Iterator[Keeper]:
    """The how-to, for that world."""
    folder = Path(tempfile.mkdtemp(prefix="clm-backup-"))
    folder.chmod(0o755)
    text = (REPOSITORY / "docs" / "backup-and-restore.md").read_text(encoding="utf-8")
    blocks = {match["name"]: textwrap.dedent(match["text"]) for match in _BLOCK.finditer(text)}
    keeper = Keeper(own_world, folder, blocks)
    keeper.make_folders()
    yield keeper
    shutil.rmtree(folder)


def test_what_was_recorded_stands_again_after_a_restore(own_world: World, keeper: Keeper) -> None:
    """Same serials, same Secrets, no new certificate; what was issued after the point is named, not hidden."""
    world = own_world
    keeper.on_each_server("archive")
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    kept = _issue(world, "in-the-backup", "rsa-in-the-backup")
    keeper.on_each_server("base-backup")
    keeper.here("token-backup")
    kept |= _issue(world, "after-the-backup")
    world.wait_settled(certificates=len(kept) + 2)
    keeper.on_each_server("restore-point")
    (lost,) = _issue(world, "after-the-point").values()
    wait(lambda: _is_sealed(world), "what was issued after the point to be sealed and anchored")
    (keeper.folder / "tombstones.json").write_text(
        '{"format": "clm-erasure-tombstones/1", "tombstones": []}', encoding="utf-8"
    )

    world.stop_controller()
    everything = {
        **kept,
        ROOT: world.certificate(CA_NAMESPACE, ROOT),
        ISSUING: world.certificate(CA_NAMESPACE, ISSUING),
    }
    secrets = {name: _take_secret(world, body) for name, body in everything.items()}
    _take_secret(world, lost)
    keeper.on_each_server("stop")
    keeper.here("token-restore")
    keeper.on_each_server("restore")

    found = json.loads(_report(world))
    assert _unknown(found) == {("restored/after-the-point", lost["status"]["serialNumber"])}
    assert {finding["object"] for finding in found if finding["kind"] == "secret-missing"} == {
        f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body in everything.values()
    }
    keeper.here("check", allowed=frozenset({1}))
    keeper.here("replay")
    assert "rolled back or cut" in " ".join(keeper.here("audit-verify", allowed=frozenset({1})).split())
    keeper.here("audit-resume")

    world.start_controller()
    for name, body in everything.items():
        world.wait_secret(secrets[name])
        now = world.wait_ready(body["metadata"]["namespace"], name)
        assert now["status"]["serialNumber"] == body["status"]["serialNumber"]
        assert [row["serial"] for row in world.recorded(now)] == [now["status"]["serialNumber"].replace(":", "")]
    again = wait(lambda: _reissued(world, lost), "what was lost from the record to be issued anew")
    assert again["status"]["revision"] == 1
    keys = world.query(
        "secure", "SELECT count(*) AS number FROM encryption_keys WHERE purpose IN ('kek', 'ca-signing')"
    )
    assert keys == [{"number": 3}]
    wait(lambda: True if _report(world) == "[]" else None, "everything to be as recorded", last=lambda: _report(world))
    wait(lambda: _is_sealed(world), "sealing to go on")
    keeper.here("audit-verify")
    assert keeper.done == set(keeper.blocks)


def _issue(world: World, *names: str) -> dict[str, Manifest]:
    for name in names:
        key = {"algorithm": "RSA", "size": 2048} if name.startswith("rsa") else {"algorithm": "ECDSA"}
        world.apply(certificate(_NAMESPACE, name, privateKey=key))
    return {name: world.wait_ready(_NAMESPACE, name) for name in names}


def _take_secret(world: World, body: Manifest) -> Manifest:
    """Delete a Certificate's Secret; tell what it said."""
    namespace, name = body["metadata"]["namespace"], body["spec"]["secretName"]
    secret = world.api.get("Secret", namespace, name)
    assert secret is not None
    world.api.delete("Secret", namespace, name)
    return secret


def _report(world: World) -> str:
    done = world.program("clm.cli.main", "check", "--output", "json")
    assert done.returncode in {0, 1}, done.stderr
    return json.dumps(json.loads(done.stdout)["findings"])


def _unknown(findings: list[dict[str, Any]]) -> set[tuple[str, str]]:
    found = [finding for finding in findings if finding["kind"] == "serial-unknown"]
    return {(finding["object"], finding["problem"].rpartition("serial ")[2].rstrip(")")) for finding in found}


def _is_sealed(world: World) -> bool | None:
    """Whether the newest record of clm_secure_db is sealed, and the newest seal anchored."""
    status, text = world.api.text("GET", "/api/v1/namespaces/clm-system/configmaps/clm-audit-anchor")
    anchored = json.loads(text)["data"].get("clm_secure_db") if status == 200 else None
    (newest,) = world.query(
        "secure",
        "SELECT note, to_xid > (SELECT max(txid::text::numeric) FROM secure_audit_log)::text::xid8 AS covers_all"
        " FROM clm_audit.seals ORDER BY batch DESC LIMIT 1",
    ) or [{"note": None, "covers_all": False}]
    return True if newest["covers_all"] and newest["note"] == anchored else None


def _reissued(world: World, lost: Manifest) -> Manifest | None:
    now = world.wait_ready(_NAMESPACE, lost["metadata"]["name"])
    return now if now["status"]["serialNumber"] != lost["status"]["serialNumber"] else None
