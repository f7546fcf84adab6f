"""A linter that CLM had no hand in finds nothing to say about CLM's certificates."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from clm.pki.profile import Urls
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import LEAF, ROOT, Authority, Keys, certificate_spec
from tests.unit.pki.test_profile import RICH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from clm.pki.tbs import ThrowawayKeys

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pkilint") is None, reason="pkilint is not installed")

URLS = Urls(crl=("http://pki.example/crl",), ocsp=("http://pki.example/ocsp",), ca_issuers=("http://pki.example/ca",))
# It takes only what RFC 5280 itself defines: no wildcards (RFC 9525), no schemes of others (SPIFFE).
PLAIN = RICH | {"dnsNames": ["web.shop.svc", "xn--mnchen-3ya.example"], "uris": ["https://shop.example/web"]}


def findings(folder: Path, der: bytes) -> str:
    """Have pkilint check a certificate by RFC 5280 and the RFCs of its keys; warnings count."""
    (folder / "certificate.der").write_bytes(der)
    command = [sys.executable, "-m", "pkilint.bin.lint_pkix_cert", "lint", "-s", "WARNING", "certificate.der"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.parametrize(
    ("manifest", "kind"),
    [
        (LEAF, KeySpec("ECDSA", 256)),
        (LEAF, KeySpec("RSA", 2048)),
        (LEAF, KeySpec("Ed25519", 256)),
        (PLAIN, KeySpec("ECDSA", 384)),
        ({"dnsNames": ["only.example"], "usages": ["server auth"]}, KeySpec("ECDSA", 256)),
    ],
    ids=["ec", "rsa", "ed25519", "rich", "no-subject"],
)
def test_leaves_are_clean(root: Authority, tmp_path: Path, manifest: Mapping[str, Any], kind: KeySpec) -> None:
    """Leaves of every algorithm, with few fields and with all."""
    der = root.issue(certificate_spec(manifest, kind), root.keys.get("leaf", kind), URLS)
    assert findings(tmp_path, der) == ""


def test_cas_are_clean(keys: Keys, throwaway: ThrowawayKeys, tmp_path: Path) -> None:
    """A root, and a CA below it with constraints."""
    root = Authority.root(keys, throwaway, ROOT)
    constraints = {"permitted": {"dnsDomains": ["shop.svc"]}}
    asked = {"commonName": "Issuing", "isCA": True, "maxPathLen": 0, "nameConstraints": constraints}
    assert findings(tmp_path, root.issuer.chain[0]) == ""
    assert findings(tmp_path, root.below(asked, name="linted").issuer.chain[0]) == ""


def test_the_linter_looks(root: Authority, tmp_path: Path) -> None:
    """It does find what is wrong: nameConstraints that are not critical (RFC 5280 4.2.1.10)."""
    constraints = {"critical": False, "permitted": {"dnsDomains": ["shop.svc"]}}
    asked = {"commonName": "Lax", "isCA": True, "nameConstraints": constraints}
    assert "name_constraints" in findings(tmp_path, root.below(asked, name="linted").issuer.chain[0])
