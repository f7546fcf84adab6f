"""Which CRL a certificate names (RFC 5280 4.2.1.13).

`{public_url}/crl/{issuer key}.crl` is the complete CRL, and `{public_url}/crl/{issuer key}/{shards}/{shard}.crl` one of
its partitions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTITION = re.compile(r"/crl/[0-9a-f-]{36}/([0-9]{1,3})/([0-9]{1,3})\.crl\Z")
_MOST = 256


class Partition(NamedTuple):
    """One of `shards` partitions of a CRL; the complete CRL is number 0 of 1."""

    shards: int
    shard: int


COMPLETE = Partition(1, 0)


def crl_partition(certificate: bytes) -> Partition:
    """Find the partition whose URL a certificate in DER carries; the complete CRL where it carries none.

    Raises ValueError on what is not a certificate.
    """
    extensions = x509.load_der_x509_certificate(certificate).extensions
    try:
        points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return COMPLETE
    return next((partition for url in _urls(points) if (partition := _partition(url)) is not None), COMPLETE)


def _urls(points: x509.CRLDistributionPoints) -> Iterator[str]:
    for point in points:
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value


def _partition(url: str) -> Partition | None:
    match = _PARTITION.search(url)
    if match is None:
        return None
    shards, shard = int(match[1]), int(match[2])
    return Partition(shards, shard) if shard < shards <= _MOST else None
