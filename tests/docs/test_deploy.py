"""The examples in deploy/ and compose.yaml fit each other, the migrations and the code."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from clm.dev.postgres_access import USERS
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
RULES = ROOT / "deploy" / "compose" / "pg_hba.conf"
TERRAFORM = ROOT / "deploy" / "terraform" / "rds"
STATE = "deploy/compose/state/"


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """What a service sees of the checkout, by the path in the container."""
    pairs = (volume.split(":")[:2] for volume in service["volumes"])
    return {target: source.removeprefix("./") for source, target in pairs if source.startswith("./")}


@pytest.mark.parametrize("name", ["secure", "core"])
def test_compose_mounts_what_is_there(name: str) -> None:
    """Every mounted file is in the repository, or is made by `prepare`; the settings are those that are mounted."""
    service = COMPOSE["services"][f"{name}-db"]
    mounted = mounts(service)
    for source in mounted.values():
        assert source.startswith(f"{STATE}{name}") or (ROOT / source).is_file(), source
    assert service["entrypoint"] == ["/clm/start"]
    settings = [word.split("=")[1] for word in service["command"] if "=" in word]
    assert set(settings) <= mounted.keys()
    assert service["environment"]["POSTGRES_DB"] == f"clm_{name}_db"
    assert service["environment"]["POSTGRES_PASSWORD_FILE"] in mounted
    assert service["ports"][0].startswith("127.0.0.1:")


def test_the_two_services_share_no_network() -> None:
    """Neither server can connect to the other."""
    networks = [set(service["networks"]) for service in COMPOSE["services"].values()]
    assert networks == [{"secure"}, {"core"}]
    assert networks[0] | networks[1] == COMPOSE["networks"].keys()


def test_prepare_makes_what_is_mounted(tmp_path: Path) -> None:
    """`prepare` makes every file, keeps it the next time, and its certificates verify."""
    folder = tmp_path / "compose"
    folder.mkdir()
    script = (ROOT / "deploy" / "compose" / "prepare").read_text(encoding="utf-8")
    (folder / "prepare").write_text(script, encoding="utf-8")
    for _ in range(2):
        subprocess.run(["bash", "prepare"], cwd=folder, check=True, capture_output=True, timeout=60)
    made = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    subprocess.run(["bash", "prepare"], cwd=folder, check=True, capture_output=True, timeout=60)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == made
    for service in COMPOSE["services"].values():
        for source in mounts(service).values():
            if source.startswith(STATE):
                assert (folder / "state" / source.removeprefix(STATE)).exists(), source
    certificates = [folder / "state" / name / "server.crt" for name in ("secure", "core")]
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", str(folder / "state" / "ca.crt"), "-verify_hostname"]
    subprocess.run([*verify, "localhost", *map(str, certificates)], check=True, capture_output=True, timeout=60)
    assert (folder / "state").stat().st_mode & 0o077 == 0
    assert (folder / "state" / "pgpass").stat().st_mode & 0o077 == 0


def test_every_user_may_come_and_nobody_else() -> None:
    """The rules name each database's users, by TLS and with a password; `prepare` gives a password to just those."""
    allowed: dict[str, set[str]] = {"clm_secure_db": set(), "clm_core_db": set()}
    for line in RULES.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["hostssl", database, users, "all", "scram-sha-256"]:
                allowed[database] |= set(users.split(","))
            case [kind, *_]:
                assert kind in {"#", "local"}, line
    assert allowed == {f"clm_{name}_db": set(users) for name, users in USERS.items()}
    prepare = (ROOT / "deploy" / "compose" / "prepare").read_text(encoding="utf-8")
    for name, names in USERS.items():
        given = re.search(rf"{name.upper()}_USERS=\(([^)]*)\)", prepare)
        assert given is not None
        assert given[1].split() == list(names)


def test_terraform_is_strict_about_transport_and_storage() -> None:
    """Nothing in the clear, nothing public, nothing that is deleted without a last snapshot."""
    text = (TERRAFORM / "main.tf").read_text(encoding="utf-8")
    settings = dict(re.findall(r'name  = "([a-z_.]+)"\n\s+value = "([^"]+)"', text))
    assert settings["rds.force_ssl"] == "1"
    assert settings["ssl_min_protocol_version"] == "TLSv1.3"
    assert settings["password_encryption"] == "scram-sha-256"
    assert settings["log_parameter_max_length"] == settings["log_parameter_max_length_on_error"] == "0"
    values = dict(re.findall(r"^  (\w+)\s+= (\w+)$", text, re.MULTILINE))
    expected = {
        "storage_encrypted": "true",
        "publicly_accessible": "false",
        "deletion_protection": "true",
        "skip_final_snapshot": "false",
        "manage_master_user_password": "true",
    }
    assert {name: values[name] for name in expected} == expected
    assert {"clm_secure_db", "clm_core_db"} <= set(re.findall(r'name = "(clm_\w+)"', text))


def test_every_variable_of_terraform_is_declared() -> None:
    """What is used is declared with a description, and the other way round."""
    texts = [path.read_text(encoding="utf-8") for path in TERRAFORM.glob("*.tf")]
    used = {name for text in texts for name in re.findall(r"\bvar\.(\w+)", text)}
    variables = (TERRAFORM / "variables.tf").read_text(encoding="utf-8")
    declared = re.findall(r'variable "(\w+)" \{\n  description = ".+"\n  type        = ', variables)
    assert used == set(declared)


def test_alerts_name_metrics_that_are_published() -> None:
    """An alert on a metric that nobody publishes would never fire."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "operator" / "clm").rglob("*.py"))
    named = set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            found = re.findall(r"\bclm_\w+", rule["expr"])
            assert found, rule["alert"]
            assert rule["annotations"]["summary"]
            assert rule["labels"]["severity"] in {"warning", "critical"}
            named |= set(found)
    assert {name for name in named if f'"{name}"' not in source} == set()
