"""Where a CA's CRLs, OCSP answers and own certificate are found: URLs that are fixed in each certificate it issues.

All are http: whoever fetches them to check a certificate cannot be asked to check a server's first (RFC 5280 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.pki.profile import Urls

if TYPE_CHECKING:
    import uuid

    from clm.resources.authority import AuthoritySpec


@dataclass(frozen=True, slots=True)
class Publishing:
    """What one CA publishes, and below which base URL."""

    base_url: str
    key_id: uuid.UUID
    authority: AuthoritySpec

    def urls(self, serial: int) -> Urls:
        """Give the URLs for a certificate: its CRL is the partition that its serial number falls into."""
        crl = self.authority.crl
        return Urls(
            crl=(crl_url(self.base_url, self.key_id, shards=crl.shards, shard=serial % crl.shards),) if crl else (),
            ocsp=(f"{self.base_url}/ocsp",) if self.authority.ocsp else (),
            ca_issuers=(f"{self.base_url}/ca/{self.key_id}.cer",),
        )


def crl_url(base_url: str, key_id: uuid.UUID, *, shards: int, shard: int) -> str:
    """URL of one CRL; with one partition it is the complete one's."""
    if shards == 1:
        return f"{base_url}/crl/{key_id}.crl"
    return f"{base_url}/crl/{key_id}/{shards}/{shard}.crl"
