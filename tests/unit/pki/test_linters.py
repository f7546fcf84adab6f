"""Two linters that CLM had no hand in find nothing in what it makes but what docs/certificate-fields.md explains."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clm.pki.chain import to_pem
from tests.unit.pki.kinds import certificates, crl_pem, crls

if TYPE_CHECKING:
    from tests.fix_x509 import GoX509

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "certificate-fields.md"
_ROW = re.compile(r"^\| (?P<linter>(?:zlint|pkilint)[^|]*) \| `(?P<rule>[\w.]+)` \| [^|]+\. \|$", re.MULTILINE)
_COMMON = ("P-256", "RSA", "Ed25519", "root ECDSA-256", "CA with a path length", "OCSP responder", "CRL: full RSA-2048")

Findings = dict[str, set[str]]
"""What each certificate and CRL was found wrong by, by its name."""


def pem() -> bytes:
    """Everything that CLM makes, in one file."""
    return b"".join([*map(to_pem, certificates().values()), *map(crl_pem, crls().values())])


def named(found: list[set[str]]) -> Findings:
    """Give the findings of each their name."""
    return dict(zip([*certificates(), *(f"CRL: {name}" for name in crls())], found, strict=True))


def explained(linter: str) -> set[str]:
    """Rules that the page explains; each stands there once."""
    rows = _ROW.finditer(PAGE.read_text(encoding="utf-8"))
    rules = [row["rule"] for row in rows if row["linter"].startswith(linter)]
    assert len(rules) == len(set(rules))
    return set(rules)


@pytest.fixture(scope="module")
def by_zlint(go_x509: GoX509) -> Findings:
    """Errors and warnings of zlint, by all of its rules."""
    found = go_x509.lint(pem())
    return named([{each["lint"] for each in one if each["status"] != "info"} for one in found])


@pytest.fixture(scope="module")
def by_pkilint(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Errors and warnings of pkilint, by RFC 5280 and the RFCs of keys."""
    file = tmp_path_factory.mktemp("pkilint") / "all.pem"
    file.write_bytes(pem())
    command = [sys.executable, "-m", "tests.unit.pki.pkilint_findings", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return named(list(map(set, json.loads(done.stdout))))


def test_go_reads_all_of_it(go_x509: GoX509) -> None:
    """Go's crypto/x509, which is strict about what it parses, takes every certificate and every CRL."""
    read = go_x509.read(b"".join(map(to_pem, certificates().values())))
    assert len(read) == len(certificates())
    assert all(each["version"] == 3 for each in read)
    lists = dict(zip(crls(), go_x509.crl(b"".join(map(crl_pem, crls().values()))), strict=True))
    assert [each["reason"] for each in lists["full ECDSA-256"]["revoked"]] == [0, 1, 2, 3, 4, 5, 9]
    assert lists["empty ECDSA-256"]["revoked"] == []


def test_zlint_finds_nothing_else(by_zlint: Findings) -> None:
    """Every error and warning is explained; and what is explained is found, so that no excuse outlives its reason."""
    assert {name: rest for name, found in by_zlint.items() if (rest := found - explained("zlint"))} == {}
    assert explained("zlint") == set().union(*by_zlint.values())


def test_pkilint_finds_nothing_else(by_pkilint: Findings) -> None:
    """The same."""
    assert {name: rest for name, found in by_pkilint.items() if (rest := found - explained("pkilint"))} == {}
    assert explained("pkilint") == set().union(*by_pkilint.values())


def test_the_linters_look(by_zlint: Findings, by_pkilint: Findings) -> None:
    """Both find what is wrong, where it is wrong: nameConstraints that are not critical (RFC 5280 4.2.1.10)."""
    for found, rule in (
        (by_zlint, "e_ext_name_constraints_not_critical"),
        (by_pkilint, "pkix.certificate_name_constraints_extension_not_critical"),
    ):
        assert {name for name, rules in found.items() if rule in rules} == {
            "CA with lax constraints",
            "CA with lax constraints, RSA",
        }


def test_what_everybody_asks_for_breaks_no_rule_of_the_rfcs(by_zlint: Findings, by_pkilint: Findings) -> None:
    """The commonest kinds are clean but for the rules of public CAs."""
    public = explained("zlint") - explained("zlint, RFC 5280")
    for name in _COMMON:
        assert by_zlint[name] <= public
        assert by_pkilint[name] == set()
