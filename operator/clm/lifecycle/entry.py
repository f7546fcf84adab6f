"""What the operator remembers of one Certificate: slim, and enough to tell that the object needs nothing.

An object that is settled keeps a few strings here and no body. One that needs work keeps the body that the
event brought, until it is settled.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clm.errors import InvalidInput
from clm.lifecycle.contest import contest_of
from clm.lifecycle.ending import finalizer_differs, is_deleted_to_revoke
from clm.lifecycle.next_look import renewal_at
from clm.resources.authority import AuthoritySpec, read_authority
from clm.resources.certificate import CertificateStatus, parse_status
from clm.resources.reading import Reader, Report

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from clm.cluster.secrets import SecretVersion
    from clm.resources.status import HoldKind


@dataclass(slots=True)
class Entry:
    """One Certificate object. `body` is there while it needs work.

    `issuer_key` identifies the key that signed its certificate, `key_identifier` its own. That, and what it publishes,
    is kept for a CA only. `issuer_chain` lists the ids of the CA certificates that stand beside its certificate.
    `renewal_at` is in seconds since the epoch; `renewal_recorded`: clm_secure_db has it, too, and in an index.
    `ends`: it is being deleted and is to be revoked, or its finalizer is not as its deletionPolicy asks.
    """

    uid: str
    created: str
    generation: int
    resource_version: str
    policy: str
    secret_name: str
    is_ca: bool
    observed_generation: int | None
    ready: bool | None
    ready_reason: str | None
    certificate_id: uuid.UUID | None
    secret_uid: str | None
    secret_resource_version: str | None
    renewal_at: float | None
    renewal_recorded: bool
    hold: HoldKind | None
    contest_ends_at: float | None
    repairs: int
    issuer_name: str | None
    issuer_key: str | None
    issuer_chain: str | None
    key_identifier: str | None
    authority: AuthoritySpec | None = None
    ends: bool = False
    password_secrets: tuple[tuple[str, str], ...] = ()
    body: dict[str, Any] | None = field(default=None, repr=False)

    def settled(self, secret: SecretVersion | None, *, now: float) -> bool:
        """Tell whether all that the object asks for stands: then nothing is read and nothing written."""
        return (
            self.ready is True
            and not self.ends
            and self.observed_generation == self.generation
            and secret is not None
            and secret.uid == self.secret_uid
            and secret.resource_version == self.secret_resource_version
            and now < self.next_look_at
        )

    @property
    def next_look_at(self) -> float:
        """Moment at which something falls due, in seconds since the epoch; infinite when nothing does."""
        return min(self.renewal_at or float("inf"), self.contest_ends_at or float("inf"))

    @property
    def look_is_recorded(self) -> bool:
        """Whether the database will call for the next look: then nobody here has to remember it for long."""
        return self.renewal_recorded and self.next_look_at == self.renewal_at


def entry_of(body: dict[str, Any]) -> Entry:
    """What an object says of itself, by its metadata, spec and status. Never raises for what a user may write."""
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    status: CertificateStatus = parse_status(body.get("status") or {})
    contest = contest_of(body.get("status"))
    due = renewal_at(metadata, status)
    by_time = status.renewal_time is not None and due == status.renewal_time.timestamp()
    return Entry(
        uid=metadata["uid"],
        created=str(metadata.get("creationTimestamp", "")),
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        policy=sys.intern(str((spec.get("policyRef") or {}).get("name", ""))),
        secret_name=str(spec.get("secretName", "")),
        is_ca=spec.get("isCA") is True,
        observed_generation=status.observed_generation,
        ready=status.ready,
        ready_reason=sys.intern(status.ready_reason) if status.ready_reason else None,
        certificate_id=status.certificate_id,
        secret_uid=status.secret_uid,
        secret_resource_version=status.secret_resource_version,
        renewal_at=due,
        # The database knows of no request: one that is dated ahead, by another machine's clock, is remembered here.
        renewal_recorded=by_time and status.next_attempt_time is None,
        hold=status.hold,
        contest_ends_at=contest.ends_at.timestamp() if contest is not None else None,
        repairs=contest.repairs if contest is not None else 0,
        issuer_name=sys.intern(status.issuer_name) if status.issuer_name else None,
        issuer_key=sys.intern(status.issuer_key_identifier) if status.issuer_key_identifier else None,
        issuer_chain=sys.intern(",".join(status.issuer_chain)) if status.issuer_chain is not None else None,
        key_identifier=status.key_identifier if spec.get("isCA") is True else None,
        authority=_authority(spec) if spec.get("isCA") is True else None,
        ends=finalizer_differs(body) or is_deleted_to_revoke(body),
        password_secrets=status.password_secrets,
        body=body,
    )


def _authority(spec: Mapping[str, Any]) -> AuthoritySpec | None:
    """What a CA publishes; nothing where that cannot be read, of which its own reconcile tells."""
    report = Report()
    found = read_authority(Reader(spec, path="spec", report=report))
    try:
        report.check()
    except InvalidInput:
        return None
    return found
