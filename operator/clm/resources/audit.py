"""Audit records: one shape for both databases, and the bytes that are sealed.

The actions are those that the CA/Browser Forum Baseline Requirements 5.4.1 and PCI DSS 10.2 ask to record.
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
    "certificate.intend",
    "certificate.sign",
    "certificate.issue",
    "certificate.supersede",
    "certificate.revoke",
    "certificate.refuse",
    "certificate.publish",
    "certificate.republish",
    "certificate.adopt",
    "integrity.repair",
]


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
