"""A dump and the public key are enough: everything that verification finds in a database it finds in a file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from clm.audit.anchor import give_up
from clm.audit.checkpoint import public_pem
from clm.cli.main import main
from clm.cluster.anchors import PUBLIC_KEY
from tests.integration.audit.conftest import FileSigner

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from clm.dev.controlplane import ControlPlane
    from clm.dev.postgres import PostgresCluster
    from tests.integration.audit.conftest import Log


@pytest.fixture
def sealed(log: Log) -> list[str]:
    """A log of two batches and a tail; gives the ids of its records."""
    ids = log.write("key.generate", "key.activate", "certificate.issue")
    log.seal()
    ids += log.write("certificate.supersede")
    log.seal()
    return [*ids, *log.write("certificate.revoke")]


@pytest.fixture
def key(log: Log, tmp_path: Path) -> str:
    """File of the public key."""
    file = tmp_path / "key.pem"
    file.write_text(public_pem(log.signer.spki), encoding="ascii")
    return str(file)


def clm(log: Log, *arguments: str, **environment: str) -> Result:
    """Run a command as the auditor of both databases."""
    environment |= {f"CLM_{log.ledger.upper()}_DSN": log.as_role("clm_auditor"), "COLUMNS": "250"}
    return CliRunner().invoke(main, ["audit", *arguments], env=environment)


def report(result: Result) -> dict[str, object]:
    """The one report of a verification."""
    (found,) = json.loads(result.stdout)
    return dict(found)


def test_verify(log: Log, sealed: list[str], key: str, tmp_path: Path) -> None:
    """The command says that all is well, with exit code 0, and what it could not tell without anchor and key."""
    anchor = tmp_path / "anchor"
    anchor.write_text(str(log.newest()), encoding="utf-8")
    result = clm(log, "verify", "--database", "secure", "--public-key", key, "--anchor", str(anchor))
    assert result.exit_code == 0, result.output
    assert "Everything is as it was sealed." in result.output
    assert "1 records are not sealed yet" in result.output
    bare = clm(log, "verify", "--database", "secure")
    assert bare.exit_code == 0
    assert "give --public-key" in bare.output
    assert "give --anchor" in bare.output
    assert len(sealed) == 5


@pytest.mark.parametrize("anchor", ["nothing", "another", "no key"])
def test_anchor_that_says_nothing(log: Log, sealed: list[str], tmp_path: Path, anchor: str) -> None:
    """An anchor without a note of the log, or without any key, is no anchor: a log that was made anew does not pass."""
    log.query(f"UPDATE {log.table} SET actor_id = 'nobody' WHERE id = %s", sealed[0])
    for table in ("seals", "sealing_keys"):
        log.query(f"DELETE FROM clm_audit.{table}")
    log.rotate()
    log.seal()
    pem = public_pem(log.signer.spki)
    data = {
        "nothing": {},
        "another": {"clm_core_db": str(log.newest()), PUBLIC_KEY: pem},
        "no key": {"clm_secure_db": str(log.newest())},
    }[anchor]
    file = tmp_path / "anchor"
    file.write_text(json.dumps({"data": data}), encoding="utf-8")
    result = clm(log, "verify", "--database", "secure", "--anchor", str(file), "-o", "json")
    assert result.exit_code == 1
    whats = [problem["what"] for problem in report(result)["problems"]]  # type: ignore[attr-defined]
    assert any("says nothing of this log" in what for what in whats) == (anchor != "no key")
    assert any("gives a public key" in what for what in whats) == (anchor != "another")


def test_no_config_map(log: Log, sealed: list[str], key: str, control_plane: ControlPlane) -> None:
    """Where the ConfigMap is not there, or is looked for in another namespace, nothing is proven."""
    environment = {"KUBECONFIG": str(control_plane.kubeconfig), "CLM_NAMESPACE": "nowhere"}
    result = clm(log, "verify", "--database", "secure", "--public-key", key, "--anchor", "configmap", **environment)
    assert result.exit_code == 1
    assert "says nothing of this log" in result.output
    assert sealed


def test_given_up_anchors_are_mentioned(log: Log, sealed: list[str], key: str, tmp_path: Path) -> None:
    """What was given up is told to people and to programs, however often it happened."""
    newest = str(log.newest())
    data = {"clm_secure_db": newest, **give_up({}, "clm_secure_db", [newest], accepted=0)}
    data |= give_up(data, "clm_secure_db", ["garbage"], accepted=0)
    file = tmp_path / "anchor"
    file.write_text(json.dumps(data), encoding="utf-8")
    options = ("verify", "--database", "secure", "--public-key", key, "--anchor", str(file))
    assert report(clm(log, *options, "-o", "json"))["givenUpAnchors"] == [newest, "garbage"]
    assert "2 anchors were given up" in clm(log, *options).output
    assert sealed


def test_verify_finds(log: Log, sealed: list[str], key: str) -> None:
    """The command names what was changed, with exit code 1, for people and for programs."""
    log.query(f"UPDATE {log.table} SET actor_id = 'nobody' WHERE id = %s", sealed[1])
    result = clm(log, "verify", "--database", "secure", "--public-key", key)
    assert result.exit_code == 1
    assert sealed[1] in result.output
    found = report(clm(log, "verify", "--database", "secure", "--public-key", key, "-o", "json"))
    assert found["problems"] == [{"batch": 1, "position": 1, "record": sealed[1], "what": "a record was changed"}]


@pytest.fixture(params=["export.jsonl", "export.jsonl.gz", "pg_dump"])
def dump(request: pytest.FixtureRequest, log: Log, tmp_path: Path, postgres_cluster: PostgresCluster) -> Dump:
    """A way to write the log into a file."""
    return Dump(log, tmp_path / str(request.param), postgres_cluster.binaries.program("pg_dump"))


class Dump:
    """Writes the log into a file."""

    def __init__(self, log: Log, file: Path, pg_dump: str) -> None:
        self.file = file
        self._log = log
        self._pg_dump = pg_dump

    def write(self) -> str:
        """Write the log as it is now; give the file's name."""
        if self.file.name == "pg_dump":
            # In another zone than the verifier's, in the order in which the rows happen to lie.
            tables = ["--table=clm_audit_parts.*", "--table=clm_audit.*", "--data-only"]
            command = [self._pg_dump, *tables, "--file", str(self.file), "--dbname", self._log.superuser]
            done = subprocess.run(
                command, env={"PGTZ": "Asia/Kolkata"}, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
        else:
            result = clm(self._log, "export", "--database", "secure", str(self.file))
            assert result.exit_code == 0, result.output
        return str(self.file)


def test_dump_verifies(log: Log, sealed: list[str], key: str, dump: Dump) -> None:
    """A dump of a sound log verifies without any database."""
    found = report(clm(log, "verify", "--dump", dump.write(), "--public-key", key, "-o", "json"))
    assert (found["ok"], found["records"], found["batches"], found["unsealed"]) == (True, len(sealed), 2, 1)


@pytest.mark.parametrize("column", ["actor_id", "details", "reason", "occurred_at", "txid"])
def test_tampered_dump(log: Log, sealed: list[str], key: str, dump: Dump, column: str) -> None:
    """A dump of a log that was tampered with does not."""
    change = {
        "details": "'{}'", "occurred_at": "occurred_at + interval '1 second'",
        "txid": "(txid::text::bigint + 100)::text::xid8",
    }.get(column, "'x'")  # fmt: skip
    log.query(f"UPDATE {log.table} SET {column} = {change} WHERE id = %s", sealed[1])
    result = clm(log, "verify", "--dump", dump.write(), "--public-key", key, "-o", "json")
    assert result.exit_code == 1
    assert report(result)["problems"][0]["batch"] == 1  # type: ignore[index]


def test_dump_with_a_future_transaction(log: Log, sealed: list[str], key: str, tmp_path: Path) -> None:
    """An export tells which transactions had begun: a record of another one is found in it, too."""
    log.query(f"UPDATE {log.table} SET txid = '9000000000000000' WHERE id = %s", sealed[-1])
    file = str(tmp_path / "export")
    assert clm(log, "export", "--database", "secure", file).exit_code == 0
    found = report(clm(log, "verify", "--dump", file, "--public-key", key, "-o", "json"))
    assert [problem["record"] for problem in found["problems"]] == [sealed[-1]]  # type: ignore[attr-defined]


def test_old_dump(log: Log, sealed: list[str], key: str, dump: Dump, tmp_path: Path) -> None:
    """A dump from before is found by the anchor from now."""
    old = dump.write()
    log.seal()
    anchor = tmp_path / "anchor"
    anchor.write_text(json.dumps({"data": {"clm_secure_db": str(log.newest())}}), encoding="utf-8")
    result = clm(log, "verify", "--dump", old, "--public-key", key, "--anchor", str(anchor))
    assert result.exit_code == 1
    assert "rolled back or cut" in result.output
    assert sealed


def test_proof(log: Log, sealed: list[str], key: str, tmp_path: Path) -> None:
    """A proof of one record convinces who has only the public key, and not when a word of it was changed."""
    made = clm(log, "proof", "--database", "secure", sealed[1])
    assert made.exit_code == 0, made.output
    file = tmp_path / "proof.json"
    file.write_text(made.stdout, encoding="utf-8")
    checked = clm(log, "proof", "--check", str(file), "--public-key", key)
    assert checked.exit_code == 0, checked.output
    assert sealed[1] in checked.output
    assert "batch 1" in checked.output

    file.write_text(made.stdout.replace("key.activate", "key.destroy"), encoding="utf-8")
    assert clm(log, "proof", "--check", str(file), "--public-key", key).exit_code == 1
    file.write_text(made.stdout, encoding="utf-8")
    other = tmp_path / "other.pem"
    other.write_text(public_pem(FileSigner().spki), encoding="ascii")
    assert clm(log, "proof", "--check", str(file), "--public-key", str(other)).exit_code == 1


def test_no_proof_of_what_is_not_sealed(log: Log, sealed: list[str]) -> None:
    """A record of the tail has no proof yet, a changed one none any more."""
    assert "is not sealed yet" in clm(log, "proof", "--database", "secure", sealed[-1]).output
    log.query(f"UPDATE {log.table} SET actor_id = 'nobody' WHERE id = %s", sealed[0])
    result = clm(log, "proof", "--database", "secure", sealed[0])
    assert result.exit_code == 1
    assert "is not as it was sealed" in result.output


def test_search(log: Log, sealed: list[str]) -> None:
    """Every filter finds what it says."""

    def found(*filters: str) -> list[str]:
        result = clm(log, "search", "--database", "secure", "-o", "json", *filters)
        assert result.exit_code == 0, result.output
        return [row["id"] for row in json.loads(result.stdout)]

    assert found() == sealed[::-1]
    assert found("--limit", "1") == sealed[-1:]
    assert found("--action", "key.*") == [sealed[1], sealed[0]]
    assert found("--action", "key.activate", "--type", "certificate", "--object", "object-1") == [sealed[1]]
    assert found("--object", "object-2*", "--actor", "clm-controller", "--outcome", "success") == [sealed[2]]
    assert found("--text", "GRÖSSE") == []
    assert found("--text", "größe") == sealed[::-1]
    assert found("--outcome", "denied") == []
    assert found("--since", "2000-01-01", "--until", "2000-01-02") == []
    assert clm(log, "search", "--database", "secure", "--since", "yesterday").exit_code == 1
    table = clm(log, "search", "--database", "secure", "--action", "key.generate").output
    assert "object-0" in table


def test_public_key(log: Log, sealed: list[str]) -> None:
    """The public key is printed as it signs."""
    assert public_pem(log.signer.spki) in clm(log, "public-key", "--database", "secure").output
    assert sealed


@pytest.mark.parametrize("content", ["", "nothing\n", "{}\n", "[1]\n"])
def test_no_dump(log: Log, tmp_path: Path, content: str) -> None:
    """A file that is no dump is no proof of anything."""
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    result = clm(log, "verify", "--dump", str(file), "--database", "secure")
    assert result.exit_code == 1
    assert "Everything" not in result.output
