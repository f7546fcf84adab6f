"""From `spec.authority` to the clients: certificates name where their status is told, and it is told there."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, authority, certificate, issued_by, policy
from tests.e2e.world import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World


@dataclass(frozen=True, slots=True)
class Client:
    """A client that has been given a certificate and its chain, and follows what the certificate says."""

    folder: Path

    @classmethod
    def given(cls, secret: dict[str, bytes], folder: Path) -> Client:
        """Take over the Secret."""
        leaf, issuer, *_ = openssl.split(secret["tls.crt"])
        for name, pem in (("leaf", leaf), ("issuer", issuer), ("root", secret["ca.crt"])):
            (folder / f"{name}.pem").write_bytes(pem)
        return cls(folder)

    def text(self) -> str:
        """What the certificate says."""
        return self._openssl("x509", "-noout", "-text", "-in", "leaf.pem")

    def ocsp(self, *options: str) -> str:
        """Ask where the certificate says; openssl verifies the answer up to the root."""
        url = self._openssl("x509", "-noout", "-ocsp_uri", "-in", "leaf.pem").strip()
        trust = ["-CAfile", "root.pem", "-issuer", "issuer.pem", "-verify_other", "issuer.pem"]
        return self._openssl("ocsp", "-url", url, *trust, "-cert", "leaf.pem", *options)

    def verify(self) -> str:
        """Verify the chain, with the CRL from where the certificate says."""
        options = ["-crl_check", "-crl_download", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "issuer.pem"]
        return self._openssl("verify", *options, "leaf.pem")

    def issuer(self) -> bytes:
        """Fetch the issuer's certificate from where the certificate says."""
        found = re.search(r"CA Issuers - URI:(\S+)", self.text())
        assert found is not None
        with urllib.request.urlopen(found[1], timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/pkix-cert"
            return bytes(answer.read())

    def _openssl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stderr + done.stdout


def test_clients_are_told_within_seconds(world: World, namespace: str, tmp_path: Path) -> None:
    """OCSP, CRL and CA certificate are where a certificate says, for clients that trust the root alone.

    A revocation is told by both within seconds. With the controller stopped answers go on, and are signed anew.
    """
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.apply(authority(namespace, "ca", ISSUING, authority={"crl": {}, "ocsp": {"enabled": True}}))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    world.wait_ready(namespace, "web")
    client = Client.given(world.secret(namespace, "web-tls"), tmp_path)
    public_url = world.environment.status()["public_url"]
    assert f"OCSP - URI:{public_url}/ocsp" in client.text()
    said = wait(lambda: said if "leaf.pem: good" in (said := client.ocsp()) else None, "good", last=client.ocsp)
    assert "Response verify OK" in said
    assert "leaf.pem: OK" in wait(
        lambda: said if "leaf.pem: OK" in (said := client.verify()) else None, "the CRL", last=client.verify
    )
    issuer = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / "issuer.pem"), "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert client.issuer() == issuer

    world.api.patch("Certificate", namespace, "web", {"spec": {"revocation": {"reason": "superseded"}}})
    said = wait(lambda: said if ": revoked" in (said := client.ocsp()) else None, "revoked", last=client.ocsp)
    assert "Response verify OK" in said
    assert "Reason: superseded" in said
    wait(lambda: said if "certificate revoked" in (said := client.verify()) else None, "it on the CRL")

    with world.quiet():
        assert "leaf.pem: revoked" in client.ocsp("-no_nonce")
        again = client.ocsp()
        assert "Response verify OK" in again
        assert "leaf.pem: revoked" in again
        assert "certificate revoked" in client.verify()
