"""What a CA publishes: `spec.authority` of its Certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.resources.reading import means_nothing

if TYPE_CHECKING:
    from clm.resources.reading import Reader

DEFAULT_CRL_LIFETIME = timedelta(hours=24)
MOST_SHARDS = 256

_LEAST_LIFETIME = timedelta(hours=1)
_MOST_LIFETIME = timedelta(days=366)
"""Twelve months, the most that the Baseline Requirements (4.9.7) leave a CRL of CAs; one of leaves has ten days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlSpec:
    """How CRLs are published: how long each is good for, and into how many partitions new certificates are spread."""

    lifetime: timedelta = DEFAULT_CRL_LIFETIME
    shards: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySpec:
    """What a CA publishes. It decides about the certificates that the CA issues, never about its own."""

    crl: CrlSpec | None = None
    ocsp: bool = False


def read_authority(spec: Reader) -> AuthoritySpec | None:
    """Read `authority` of a spec; None where nothing is to be published. `crl: {}` asks for a CRL with the defaults."""
    spec.skip("authority", when=means_nothing(spec.peek("authority")))
    if means_nothing(spec.peek("authority")):
        return None
    reader = spec.child("authority")
    wants_crl = reader.peek("crl") is not None
    crl, ocsp = reader.child("crl"), reader.child("ocsp")
    lifetime = crl.duration("lifetime")
    if lifetime is not None and not _LEAST_LIFETIME <= lifetime <= _MOST_LIFETIME:
        crl.problem("lifetime", "must be at least 1h and at most 8784h")
    shards = crl.integer("shards", minimum=1, maximum=MOST_SHARDS)
    enabled = ocsp.flag("enabled")
    if not wants_crl and not enabled:
        return None
    asked = CrlSpec(lifetime=lifetime or DEFAULT_CRL_LIFETIME, shards=shards or 1)
    return AuthoritySpec(crl=asked if wants_crl else None, ocsp=enabled)
