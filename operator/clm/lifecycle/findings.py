"""What a comparison of the worlds has to say: findings by world and kind, and what was looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import uuid

    from clm.storage.core.survey import WrongStatus

World = Literal["secure", "core", "cluster", "token"]

Kind = Literal[
    "intent-unsigned",  # an intent has waited for longer than a live issuance takes
    "not-recorded",  # a request counts as issued and has no certificate
    "outbox-late",  # certificates wait to be published
    "key-unopened",  # a stored private key does not open, or is not its certificate's
    "reference-dangling",  # an id that the other database does not have
    "inventory-missing",  # recorded, and not in the inventory
    "inventory-differs",  # in the inventory with another status or fingerprint than recorded
    "revocation-half",  # a certificate is revoked and has no revocation, or has one and is not
    "revocation-missing",  # recorded as revoked, and OCSP does not know, or says another reason
    "revocation-unknown",  # revoked for OCSP, and not on record
    "erasure-unfinished",  # a tombstone stands, and the person's data stand as well
    "not-ready",  # a Certificate is not Ready, and was not rightly refused
    "serial-unknown",  # the cluster uses a certificate that the record does not know
    "certificate-ended",  # a Certificate is Ready with a certificate that is superseded or revoked
    "secret-missing",
    "secret-differs",
    "object-orphaned",  # the token holds an object that no row owns
    "hsm-key-wrong",  # the token does not hold the key that an active row names
    "key-unfinished",  # a key is still being made, or its destruction has begun and not ended
]

LIMIT = 10_000
"""Findings that a report holds; beyond that it only counts. What is mended makes room for the next run's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as recorded. `republish` names the certificate whose publication mends it.

    `status` is there when a row of the inventory has to be set back first.
    """

    world: World
    kind: Kind
    object: str
    problem: str
    republish: uuid.UUID | None = None
    status: WrongStatus | None = None


@dataclass(slots=True)
class Report:
    """What was compared and what was found. `dangling` counts ids without a counterpart, by the side that has them."""

    compared: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[World, Kind]] = field(default_factory=Counter)
    dangling: Counter[Literal["secure", "core"]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many things are not as recorded, also where `findings` does not hold them all."""
        return self.counts.total()

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was looked at."""
        self.compared[what] = self.compared.get(what, 0) + number

    def add(self, finding: Finding) -> None:
        """Take in a finding."""
        self.counts[finding.world, finding.kind] += 1
        if len(self.findings) < LIMIT:
            self.findings.append(finding)
