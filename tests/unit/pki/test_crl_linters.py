"""Linters that CLM had no hand in find nothing to say about its CRLs and its certificates of OCSP responders."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from clm.pki import tbs
from clm.pki.algorithms import signature_hash
from clm.pki.assemble import assemble, assemble_crl
from clm.pki.chain import to_pem
from clm.pki.crl import REASONS, CrlPlan, RevokedEntry, build_crl, encode_entries, next_number
from clm.pki.serial import new_serial
from clm.pki.urls import crl_url
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import ROOT, Authority, Keys, certificate_spec, sign

if TYPE_CHECKING:
    from pathlib import Path

    from clm.pki.tbs import ThrowawayKeys
    from tests.fix_x509 import GoX509

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pkilint") is None, reason="pkilint is not installed")

NOW = datetime.now(UTC).replace(microsecond=0)
URL = crl_url("http://pki.example.com", uuid.UUID(int=1), shards=4, shard=3)


def made(authority: Authority, *, entries: bool, shards: int) -> bytes:
    """Sign a CRL, with an entry for every reason."""
    revoked = [
        RevokedEntry(0x4000_0000_0000_0003 + 4 * code, NOW - timedelta(hours=1), code, NOW - timedelta(days=1))
        for code in (0, *REASONS)
    ]
    plan = CrlPlan(
        issuer=authority.issuer,
        number=next_number(None, NOW),
        this_update=NOW,
        next_update=NOW + timedelta(days=1),
        shards=shards,
        shard=3 if shards > 1 else 0,
        urls=(URL,) if shards > 1 else (),
    )
    encoded = encode_entries(revoked if entries else [], throwaway=authority.throwaway)
    draft = build_crl(plan, encoded, throwaway=authority.throwaway)
    spec = authority.issuer.spec
    return assemble_crl(draft.tbs, sign(authority.key, spec, draft.tbs, signature_hash(spec)), spec=spec)


def pkilint(folder: Path, der: bytes, *command: str) -> str:
    """Have pkilint look; warnings count."""
    (folder / "input.der").write_bytes(der)
    whole = [sys.executable, "-m", *command, "-s", "WARNING", "input.der"]
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def zlint(go_x509: GoX509, pem: bytes) -> set[str]:
    """Have zlint look; remarks do not count."""
    (findings,) = go_x509.lint(pem)
    return {finding["lint"] for finding in findings if finding["status"] not in {"info", "notice"}}


@pytest.mark.parametrize("kind", [KeySpec("ECDSA", 256), KeySpec("RSA", 2048), KeySpec("Ed25519", 256)], ids=str)
@pytest.mark.parametrize(("entries", "shards"), [(False, 1), (True, 1), (True, 4)], ids=["empty", "all", "partition"])
def test_crls_are_clean(
    keys: Keys,
    throwaway: ThrowawayKeys,
    go_x509: GoX509,
    tmp_path: Path,
    kind: KeySpec,
    entries: bool,  # noqa: FBT001 - a parameter of the test
    shards: int,
) -> None:
    """Without entries, with every reason, and of a partition; Go reads each, and zlint is content."""
    crl = made(Authority.root(keys, throwaway, ROOT, kind), entries=entries, shards=shards)
    assert pkilint(tmp_path, crl, "pkilint.bin.lint_crl", "lint", "-t", "CRL", "-p", "PKIX") == ""
    pem = x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM)
    (read,) = go_x509.crl(pem)
    assert read
    # The Baseline Requirements, which are for public CAs, do not have the reasons 2 and 10 of RFC 5280.
    assert zlint(go_x509, pem) == ({"e_cab_crl_has_valid_reason_code"} if entries else set())


def test_certificates_of_responders_are_clean(
    keys: Keys, throwaway: ThrowawayKeys, go_x509: GoX509, tmp_path: Path
) -> None:
    """Short-lived, for OCSP alone, and without a word on where to ask about themselves."""
    root = Authority.root(keys, throwaway)
    usages = ["digital signature", "ocsp signing"]
    spec = certificate_spec({"commonName": "OCSP responder 1", "usages": usages, "duration": "24h"})
    draft = tbs.build_tbs(
        spec,
        issuer=root.issuer,
        public_key=keys.get("leaf").public_key(),
        serial=new_serial(lambda count: b"\x5a" * count),
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(hours=23),
        throwaway=throwaway,
        no_check=True,
    )
    spec_of_key = root.issuer.spec
    der = assemble(draft.tbs, sign(root.key, spec_of_key, draft.tbs), spec=spec_of_key)
    assert pkilint(tmp_path, der, "pkilint.bin.lint_pkix_cert", "lint") == ""
    assert zlint(go_x509, to_pem(der)) == set()
