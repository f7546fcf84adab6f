"""CRLs of a CA as its clients see them: URLs in certificates, and lists that follow a revocation within seconds."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from tests.e2e import openssl
from tests.e2e.manifests import ISSUING, authority, certificate, issued_by, policy
from tests.e2e.world import wait

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

LATEST_S = 20.0
"""Far more than the seconds that it takes, on a machine that does much else."""


@pytest.fixture
def ca(world: World, namespace: str) -> str:
    """A CA that publishes in four partitions, and a Policy that issues by it; its name is the namespace's."""
    publishes = {"crl": {"shards": 4}, "ocsp": {"enabled": True}}
    world.apply(authority(namespace, "ca", ISSUING, authority=publishes))
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.wait_ready(namespace, "ca")
    return namespace


def leaf(world: World, namespace: str, name: str) -> Manifest:
    """Have a leaf of the CA."""
    world.apply(certificate(namespace, name, policyRef={"name": namespace}))
    return world.wait_ready(namespace, name)


def revoke(world: World, body: Manifest) -> None:
    """Ask for a revocation, as a user does."""
    metadata = body["metadata"]
    change = {"spec": {"revocation": {"reason": "keyCompromise"}}}
    world.api.patch("Certificate", metadata["namespace"], metadata["name"], change)


def serial_of(body: Manifest) -> int:
    """Serial number of what stands in a status."""
    return int(body["status"]["serialNumber"].replace(":", ""), 16)


def key_of(world: World, namespace: str) -> uuid.UUID:
    """Key of the CA."""
    (row,) = world.query(
        "secure", "SELECT id FROM encryption_keys WHERE namespace = %(namespace)s AND name = 'ca'", namespace=namespace
    )
    found: uuid.UUID = row["id"]
    return found


def crls(world: World, namespace: str) -> dict[tuple[int, int], x509.CertificateRevocationList]:
    """The CRLs of the CA, by number of partitions and which one it is."""
    rows: list[dict[str, Any]] = world.query(
        "core",
        "SELECT shards, shard, crl FROM clm_status.crls WHERE issuer_key_id = %(key)s",
        key=key_of(world, namespace),
    )
    return {(row["shards"], row["shard"]): x509.load_der_x509_crl(row["crl"]) for row in rows}


def wait_listed(world: World, namespace: str, shards: int, serials: set[int]) -> None:
    """Wait until these are on the complete CRL, and each on its partition."""

    def look() -> bool | None:
        standing = crls(world, namespace)
        parts = {(1, 0), *((shards, serial % shards) for serial in serials)}
        listed = [
            serial in {revoked.serial_number for revoked in standing[part]}
            for part in parts
            if part in standing
            for serial in serials
            if part == (1, 0) or serial % shards == part[1]
        ]
        return True if parts <= standing.keys() and all(listed) else None

    wait(look, f"{len(serials)} certificates to be on their CRLs", timeout_s=LATEST_S)


def test_a_revocation_is_on_the_crl_that_the_certificate_names(world: World, ca: str, tmp_path: Path) -> None:
    """The URL in the certificate is the one in the list; the CA may go, change, or be asked for other partitions."""
    first, second = leaf(world, ca, "first"), leaf(world, ca, "second")
    base, key = world.settings["CLM_PUBLIC_URL"], key_of(world, ca)
    printed = openssl.show(world.secret(ca, "first-tls")["tls.crt"])
    url = f"{base}/crl/{key}/4/{serial_of(first) % 4}.crl"
    assert re.findall(r"URI:(\S+)", printed.text) == [url, f"{base}/ocsp", f"{base}/ca/{key}.cer"]
    wait_listed(world, ca, 4, set())
    revoke(world, first)
    wait_listed(world, ca, 4, {serial_of(first)})
    crl = crls(world, ca)[4, serial_of(first) % 4]
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert [name.value for name in point.value.full_name or ()] == [url]
    _check_online(world, ca, first, second, folder=tmp_path)
    # Another number of partitions is for what is issued from now on; the CA's own certificate and its leaves stay.
    before = world.certificate(ca, "ca")["status"]["serialNumber"]
    world.apply(authority(ca, "ca", ISSUING, authority={"crl": {"lifetime": "48h"}}))
    assert world.wait_ready(ca, "ca")["status"]["serialNumber"] == before
    third = leaf(world, ca, "third")
    assert f"URI:{base}/crl/{key}.crl" in openssl.show(world.secret(ca, "third-tls")["tls.crt"]).text
    assert world.certificate(ca, "second")["status"]["serialNumber"] == second["status"]["serialNumber"]
    world.api.delete("Certificate", ca, "ca")
    revoke(world, second)
    revoke(world, third)
    wait_listed(world, ca, 4, {serial_of(body) for body in (first, second, third)})


def _check_online(world: World, namespace: str, revoked: Manifest, good: Manifest, *, folder: Path) -> None:
    """Have OpenSSL follow the URLs in the certificates, and ask the responder."""
    for body, said in ((revoked, "revoked"), (good, "good")):
        leaf_pem, *between = openssl.split(world.secret(namespace, body["spec"]["secretName"])["tls.crt"])
        files = {"leaf": leaf_pem, "issuer": between[0], "between": b"".join(between)}
        for name, pem in files.items():
            (folder / name).write_bytes(pem)
        (folder / "root").write_bytes(world.secret(namespace, body["spec"]["secretName"])["ca.crt"])
        crl, ocsp, ca = re.findall(r"URI:(\S+)", openssl.show(leaf_pem).text)
        trust = ["-CAfile", str(folder / "root"), "-verify_other", str(folder / "between"), "-no_nonce"]
        asked = ["ocsp", "-url", ocsp, "-issuer", str(folder / "issuer"), "-cert", str(folder / "leaf"), *trust]
        wait(partial(_answer, asked, said), f"OCSP to answer {said}", timeout_s=LATEST_S)
        with urllib.request.urlopen(ca, timeout=10) as answer:
            assert x509.load_der_x509_certificate(answer.read()) == x509.load_pem_x509_certificate(between[0])
        with urllib.request.urlopen(crl, timeout=10) as answer:
            listed = {entry.serial_number for entry in x509.load_der_x509_crl(answer.read())}
        assert (serial_of(body) in listed) == (said == "revoked")


def _answer(arguments: list[str], said: str) -> bool | None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20, check=False)
    return True if "Response verify OK" in done.stderr and f": {said}" in done.stdout else None


def test_nothing_is_lost_when_the_operator_is_killed(world: World, ca: str) -> None:
    """SIGKILL while revocations are on their way: all are listed when it is up again, and numbers have only risen."""
    bodies = [leaf(world, ca, f"web-{number}") for number in range(6)]
    wait_listed(world, ca, 4, set())
    before = {part: number_of(crl) for part, crl in crls(world, ca).items()}
    for body in bodies:
        revoke(world, body)
    world.kill_controller()
    world.start_controller()
    wait_listed(world, ca, 4, {serial_of(body) for body in bodies})
    assert all(number_of(crl) >= before[part] for part, crl in crls(world, ca).items())


def number_of(crl: x509.CertificateRevocationList) -> int:
    """CRLNumber of a CRL."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
