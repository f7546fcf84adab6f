"""Which partition of the CRL a certificate names: by the URL that it carries, and by nothing else."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clm.pki.distribution import COMPLETE, Partition, crl_partition

_KEY = ec.generate_private_key(ec.SECP256R1())
_ISSUER = uuid.UUID(int=5)


def _certificate(*urls: str) -> bytes:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), _KEY.public_key(), 1)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=1))
    if urls:
        names = [x509.UniformResourceIdentifier(url) for url in urls]
        points = [x509.DistributionPoint([name], None, None, None) for name in names]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("urls", "partition"),
    [
        ((), COMPLETE),
        ((f"http://pki.example/crl/{_ISSUER}.crl",), COMPLETE),
        ((f"http://pki.example/crl/{_ISSUER}/16/3.crl",), Partition(16, 3)),
        ((f"https://pki.example/below/crl/{_ISSUER}/256/255.crl",), Partition(256, 255)),
        (("http://elsewhere.example/other.crl", f"http://pki.example/crl/{_ISSUER}/4/0.crl"), Partition(4, 0)),
        ((f"http://pki.example/crl/{_ISSUER}/4/4.crl",), COMPLETE),
        ((f"http://pki.example/crl/{_ISSUER}/999/4.crl",), COMPLETE),
        ((f"http://pki.example/crl/{_ISSUER}/4/1.crl?x=1",), COMPLETE),
    ],
)
def test_partition(urls: tuple[str, ...], partition: Partition) -> None:
    """Whatever else stands there is no partition of ours, and the complete CRL has it in any case."""
    assert crl_partition(_certificate(*urls)) == partition
