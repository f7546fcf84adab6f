"""CRLs as OpenSSL takes them: a second opinion that shares no code with CLM."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from clm.pki.chain import to_pem
from clm.resources.authority import AuthoritySpec, CrlSpec
from tests.integration.publishing.press import BASE_URL, serial_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.publishing.conftest import Printer
    from tests.integration.publishing.press import Press


_UPDATE = re.compile(r"Update=(.*)")


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run OpenSSL."""
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("shards", [1, 4])
def test_openssl_refuses_what_is_revoked_and_nothing_else(printer: Printer, tmp_path: Path, shards: int) -> None:
    """By the complete CRL, and by the partition that the certificate names."""

    async def act(press: Press) -> None:
        await press.announce(AuthoritySpec(crl=CrlSpec(lifetime=timedelta(hours=36), shards=shards), ocsp=True))
        good, bad = await press.leaf("good"), await press.leaf("bad")
        await press.revoke(bad)
        await press.round(press.rounds())
        files = {name: tmp_path / name for name in ("root.pem", "good.pem", "bad.pem")}
        files["root.pem"].write_bytes(to_pem(press.root.chain[0]))
        files["good.pem"].write_bytes(to_pem(good.certificate))
        files["bad.pem"].write_bytes(to_pem(bad.certificate))
        for name, issued in (("good", good), ("bad", bad)):
            crl = tmp_path / f"{name}.crl"
            crl.write_bytes(await press.der(shards, serial_of(issued) % shards))
            said = openssl(
                "crl", "-inform", "DER", "-in", str(crl), "-verify", "-CAfile", str(files["root.pem"]), "-text"
            )
            assert "verify OK" in said.stderr
            assert "Version 2 (0x1)" in said.stdout
            times = openssl("crl", "-inform", "DER", "-in", str(crl), "-noout", "-lastupdate", "-nextupdate").stdout
            begin, end = (
                datetime.strptime(each, "%b %d %H:%M:%S %Y %z")
                for each in _UPDATE.findall(times.replace("GMT", "+0000"))
            )
            assert end - begin == timedelta(hours=36)
            assert ("Issuing Distribution Point: critical" in said.stdout) == (shards > 1)
            url = f"{BASE_URL}/crl/{press.root.key_id}/{shards}/{serial_of(issued) % shards}.crl"
            assert (f"URI:{url}" in said.stdout) == (shards > 1)
            options = ["-x509_strict", "-crl_check", "-CRLfile", str(crl), "-CAfile", str(files["root.pem"])]
            checked = openssl("verify", *options, str(files[f"{name}.pem"]))
            if name == "good":
                assert checked.returncode == 0, checked.stderr
            else:
                assert "certificate revoked" in checked.stderr

    printer(act)


def test_openssl_does_not_take_another_partition(printer: Printer, tmp_path: Path) -> None:
    """A certificate is not good because a list does not have it that is not about it."""

    async def act(press: Press) -> None:
        await press.announce(AuthoritySpec(crl=CrlSpec(shards=4)))
        leaf = await press.leaf("web")
        await press.round(press.rounds())
        root, certificate, crl = tmp_path / "root.pem", tmp_path / "leaf.pem", tmp_path / "other.crl"
        root.write_bytes(to_pem(press.root.chain[0]))
        certificate.write_bytes(to_pem(leaf.certificate))
        crl.write_bytes(await press.der(4, (serial_of(leaf) + 1) % 4))
        options = ["-crl_check", "-extended_crl", "-CRLfile", str(crl), "-CAfile", str(root)]
        assert openssl("verify", *options, str(certificate)).returncode != 0

    printer(act)
