"""Audit records: one shape for both databases, the acts that are recorded, and the bytes that are sealed.

TAXONOMY is the one list of acts. The sections it names are those of the CA/Browser Forum Baseline Requirements (BR
5.4.1: (1) life of CA keys and certificates, (2) life of subscribers' certificates, (3) security) and of PCI DSS 4
(10.2.1.1 to 10.2.1.7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import rfc8785

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

Action = Literal[
    "key.generate",
    "key.activate",
    "key.suspend",
    "key.resume",
    "key.deactivate",
    "key.compromise",
    "key.destroy",
    "key.rewrap",
    "key.quarantine",
    "certificate.intend",
    "certificate.sign",
    "certificate.issue",
    "certificate.supersede",
    "certificate.revoke",
    "certificate.refuse",
    "certificate.fail",
    "certificate.suspend",
    "certificate.publish",
    "certificate.republish",
    "certificate.adopt",
    "crl.publish",
    "subject.erase",
    "subject.hold",
    "retention.apply",
    "integrity.check",
    "integrity.repair",
    "controller.start",
    "controller.stop",
    "hsm.login",
    "audit.partition",
    "audit.seal-refuse",
    "audit.resume",
    "audit.epoch",
    "audit.archive",
    "audit.drop",
]


@dataclass(frozen=True, slots=True)
class ActionMeaning:
    """One act: what it means, in which log it stands, and which sections ask for it."""

    meaning: str
    database: Literal["secure", "core", "both"]
    baseline: str
    pci: str


TAXONOMY: dict[Action, ActionMeaning] = {
    "key.generate": ActionMeaning("A key of this id is about to be made in the token.", "secure", "(1)", "10.2.1.7"),
    "key.activate": ActionMeaning("The token holds the key; it may be used.", "secure", "(1)", "10.2.1.7"),
    "key.suspend": ActionMeaning("The key protects nothing new until it is resumed.", "secure", "(1)", "10.2.1.5"),
    "key.resume": ActionMeaning("A suspended key may be used again.", "secure", "(1)", "10.2.1.5"),
    "key.deactivate": ActionMeaning("The key only opens and verifies from now on.", "secure", "(1)", "10.2.1.5"),
    "key.compromise": ActionMeaning("The key is known or feared to be in other hands.", "secure", "(1)", "10.2.1.5"),
    "key.destroy": ActionMeaning("The key material is gone for good.", "secure", "(1)", "10.2.1.7"),
    "key.rewrap": ActionMeaning("Wrapped keys went under another key-encryption key.", "secure", "(1)", "10.2.1.5"),
    "key.quarantine": ActionMeaning("A key in the token that no row names was set apart.", "secure", "(1)", "10.2.1.7"),
    "certificate.intend": ActionMeaning("The bytes to be signed were written down.", "secure", "(1) (2)", "10.2.1.7"),
    "certificate.sign": ActionMeaning("A CA key signed them.", "secure", "(1) (2)", "10.2.1.2"),
    "certificate.issue": ActionMeaning("The signed certificate was recorded.", "secure", "(1) (2)", "10.2.1.7"),
    "certificate.supersede": ActionMeaning("A newer certificate took its place.", "secure", "(2)", "10.2.1.7"),
    "certificate.revoke": ActionMeaning("The certificate was revoked.", "both", "(1) (2)", "10.2.1.7"),
    "certificate.refuse": ActionMeaning("A request was refused: spec, Policy or issuer.", "core", "(2)", "10.2.1.4"),
    "certificate.fail": ActionMeaning("An attempt to issue failed; the next one waits.", "core", "(2)", "10.2.1.4"),
    "certificate.suspend": ActionMeaning("Issued too often for one cause, it is suspended.", "core", "(2)", "10.2.1.4"),
    "certificate.publish": ActionMeaning("The inventory knows the certificate.", "core", "(2)", "10.2.1.7"),
    "certificate.republish": ActionMeaning("The controller is to publish it again.", "secure", "(2)", "10.2.1.2"),
    "certificate.adopt": ActionMeaning("An object made again took its old certificate.", "secure", "(2)", "10.2.1.7"),
    "crl.publish": ActionMeaning("A CRL was signed and published.", "core", "(1) (2)", "10.2.1.7"),
    "subject.erase": ActionMeaning("Data of a person were made unreadable.", "both", "(3)", "10.2.1.7"),
    "subject.hold": ActionMeaning("A legal hold was set or lifted.", "both", "(3)", "10.2.1.2"),
    "retention.apply": ActionMeaning("Rows past their retention were removed.", "both", "(3)", "10.2.1.7"),
    "integrity.check": ActionMeaning("Databases, cluster and token were compared.", "secure", "(3)", "10.2.1.2"),
    "integrity.repair": ActionMeaning("What the comparison found was mended.", "both", "(3)", "10.2.1.2"),
    "controller.start": ActionMeaning("The controller serves.", "secure", "(3)", "10.2.1.6"),
    "controller.stop": ActionMeaning("The controller ends; without it there was a crash.", "secure", "(3)", "10.2.1.6"),
    "hsm.login": ActionMeaning("The token refused the PIN.", "secure", "(3)", "10.2.1.4"),
    "audit.partition": ActionMeaning("Months of the audit log were made.", "both", "(3)", "10.2.1.6"),
    "audit.seal-refuse": ActionMeaning("The log is behind what is anchored; no sealing.", "both", "(3)", "10.2.1.6"),
    "audit.resume": ActionMeaning("A restored, shorter log was accepted by a person.", "both", "(3)", "10.2.1.6"),
    "audit.epoch": ActionMeaning("Transaction ids began anew after a restore.", "both", "(3)", "10.2.1.6"),
    "audit.archive": ActionMeaning("A month of the log was archived, signed and read back.", "both", "(3)", "10.2.1.3"),
    "audit.drop": ActionMeaning("The partition of an archived month was dropped.", "both", "(3)", "10.2.1.7"),
}

SEALED_COLUMNS = (
    "id",
    "occurred_at",
    "organization_id",
    "ledger_epoch",
    "txid",
    "actor_type",
    "actor_id",
    "on_behalf_of",
    "auth_method",
    "action",
    "object_type",
    "object_id",
    "outcome",
    "reason",
    "origin",
    "source_ip",
    "user_agent",
    "request_id",
    "software_version",
    "details_canonical",
)
"""Columns of a record in the order in which a seal covers them. `details` must say the same as `details_canonical`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act: who did what to which object, how it ended and why."""

    organization_id: uuid.UUID
    action: Action
    object_type: str
    object_id: str
    outcome: Literal["success", "failure", "denied"] = "success"
    reason: str | None = None
    actor_type: Literal["operator", "user", "service", "system"] = "operator"
    actor_id: str = "clm-controller"
    details: Mapping[str, Any] = field(default_factory=dict)

    def canonical(self) -> bytes:
        """Details as the JSON Canonicalization Scheme writes them (RFC 8785): what a seal covers."""
        return rfc8785.dumps(dict(self.details))


def taxonomy_table() -> str:
    """The taxonomy as a table in Markdown, for the documentation.

    >>> taxonomy_table().splitlines()[2]
    '| `key.generate` | A key of this id is about to be made in the token. | secure | (1) | 10.2.1.7 |'
    """
    lines = ["| action | meaning | database | BR 5.4.1 | PCI DSS |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {act.meaning} | {act.database} | {act.baseline} | {act.pci} |" for name, act in TAXONOMY.items()
    ]
    return "\n".join(lines) + "\n"
