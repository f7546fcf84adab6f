"""CRLs and CA certificates over HTTP, at the URLs that certificates name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.e2e.world import wait
from tests.integration.responder.authority import Authority

if TYPE_CHECKING:
    import psycopg

    from tests.integration.responder.process import Reply, Responder


def wait_served(responder: Responder, path: str, body: bytes | None) -> Reply:
    """Wait until a path gives this; None: nothing any more."""

    def look() -> Reply | None:
        reply = responder.ask("GET", path)
        return reply if (reply.body == body if body is not None else reply.status == 404) else None

    return wait(look, f"{path} to be served")


def test_crls(responder: Responder, operator: psycopg.Connection) -> None:
    """The complete CRL and its partitions; each one is replaced by the next within seconds."""
    authority = Authority(operator)
    authority.publish()
    first = authority.publish_crl()
    partitions = [authority.publish_crl(authority.issue(), shards=2, shard=shard) for shard in range(2)]
    path = f"/crl/{authority.key_id}.crl"
    reply = wait_served(responder, path, first)
    assert reply.headers["content-type"] == "application/pkix-crl"
    assert reply.headers["cache-control"] == "max-age=300, public, no-transform, must-revalidate"
    for shard, partition in enumerate(partitions):
        assert wait_served(responder, f"/crl/{authority.key_id}/2/{shard}.crl", partition).status == 200
    assert responder.ask("GET", path, If_None_Match=reply.headers["etag"]).status == 304
    second = authority.publish_crl(authority.issue())
    again = wait_served(responder, path, second)
    assert again.headers["etag"] != reply.headers["etag"]
    said = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-noout", "-text"], input=second, capture_output=True, check=True
    ).stdout
    assert b"Serial Number" in said


def test_ca_certificates(responder: Responder, operator: psycopg.Connection) -> None:
    """One certificate in DER (RFC 5280 4.2.2.1), the newest one."""
    authority = Authority(operator)
    authority.publish()
    path = f"/ca/{authority.key_id}.cer"
    reply = wait_served(responder, path, authority.certificate.public_bytes(Encoding.DER))
    assert reply.headers["content-type"] == "application/pkix-cert"
    authority.renew()
    again = wait_served(responder, path, authority.certificate.public_bytes(Encoding.DER))
    assert again.headers["etag"] != reply.headers["etag"]
    head = responder.ask("HEAD", path)
    assert (head.body, head.headers["content-length"]) == (b"", str(len(again.body)))


def test_what_ends(responder: Responder, operator: psycopg.Connection) -> None:
    """A partition that no certificate names any more goes."""
    authority = Authority(operator)
    authority.publish()
    path = f"/crl/{authority.key_id}/4/3.crl"
    wait_served(responder, path, authority.publish_crl(shards=4, shard=3))
    operator.execute("DELETE FROM clm_status.crls WHERE issuer_key_id = %s", [authority.key_id])
    wait_served(responder, path, None)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/crl/",
        "/ca/",
        "/crl/0b1d8a52-4a5e-4d0c-9f0e-2f1f6c1f7a01.crl",
        "/ca/0b1d8a52-4a5e-4d0c-9f0e-2f1f6c1f7a02.cer",
        "/ocspx",
        "/../etc/passwd",
        "/%00",
        "/metrics",
    ],
)
def test_what_is_not_there(responder: Responder, path: str) -> None:
    """Is not found; what is about the process is not served here."""
    assert responder.ask("GET", path).status == 404


def test_files_are_only_read(responder: Responder, operator: psycopg.Connection) -> None:
    """Other methods are refused, with what is allowed."""
    authority = Authority(operator)
    authority.publish()
    path = f"/crl/{authority.key_id}.crl"
    wait_served(responder, path, authority.publish_crl())
    reply = responder.ask("POST", path, b"0")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
