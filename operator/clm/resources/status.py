"""What a Certificate's status says, as far as the operator needs it again after a restart.

A status may be of an older version or edited by hand: what cannot be read is None, and is then found out anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

HoldKind = Literal["Failed", "IssuanceSuspended", "QuotaExceeded"]
"""What keeps an issuance waiting for a time that is known."""

_CONDITION = {"True": True, "False": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """The status of one Certificate. Times are in UTC."""

    observed_generation: int | None = None
    ready: bool | None = None
    ready_reason: str | None = None
    ready_message: str | None = None
    revision: int | None = None
    serial_number: str | None = None
    certificate_id: uuid.UUID | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    renewal_time: datetime | None = None
    hold: HoldKind | None = None
    hold_generation: int | None = None
    failed_attempts: int | None = None
    last_failure_time: datetime | None = None
    next_attempt_time: datetime | None = None
    issuer_name: str | None = None
    issuer_key_identifier: str | None = None
    issuer_chain: tuple[str, ...] | None = None
    key_identifier: str | None = None
    secret_uid: str | None = None
    secret_resource_version: str | None = None
    password_secrets: tuple[tuple[str, str], ...] = ()
    """Name and resource version of each Secret that the password of a keystore was read from."""
    secret_repairs: int | None = None
    secret_repaired_at: datetime | None = None


def parse_status(status: object) -> CertificateStatus:
    """Read a status. Never raises."""
    body = _mapping(status)
    ready = _condition(body.get("conditions"), "Ready")
    secret, issuer = _mapping(body.get("secret")), _mapping(body.get("issuer"))
    hold, hold_generation = _hold(body.get("conditions"))
    return CertificateStatus(
        observed_generation=_integer(body.get("observedGeneration")),
        ready=_CONDITION.get(_text(ready.get("status")) or ""),
        ready_reason=_text(ready.get("reason")),
        ready_message=_text(ready.get("message")),
        revision=_integer(body.get("revision")),
        serial_number=_text(body.get("serialNumber")),
        certificate_id=_uuid(body.get("certificateId")),
        not_before=parse_time(body.get("notBefore")),
        not_after=parse_time(body.get("notAfter")),
        renewal_time=parse_time(body.get("renewalTime")),
        hold=hold,
        hold_generation=hold_generation,
        failed_attempts=_integer(body.get("failedIssuanceAttempts")),
        last_failure_time=parse_time(body.get("lastFailureTime")),
        next_attempt_time=parse_time(body.get("nextAttemptTime")),
        issuer_name=_text(issuer.get("name")),
        issuer_key_identifier=_text(issuer.get("keyIdentifier")),
        issuer_chain=_texts(issuer.get("chain")),
        key_identifier=_text(body.get("keyIdentifier")),
        secret_uid=_text(secret.get("uid")),
        secret_resource_version=_text(secret.get("resourceVersion")),
        password_secrets=_password_secrets(body.get("keystorePasswords")),
        secret_repairs=_integer(secret.get("repairs")),
        secret_repaired_at=parse_time(secret.get("lastRepairTime")),
    )


def parse_time(value: object) -> datetime | None:
    """Read a moment as Kubernetes writes it (RFC 3339); None for anything else, also for one without a zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _password_secrets(secrets: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(secrets, list | tuple):
        return ()
    pairs = ((_text(item.get("name")), _text(item.get("resourceVersion"))) for item in map(_mapping, secrets))
    return tuple((name, version) for name, version in pairs if name and version)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _condition(conditions: object, kind: str) -> Mapping[str, Any]:
    if not isinstance(conditions, list | tuple):
        return {}
    return next((item for item in map(_mapping, conditions) if item.get("type") == kind), {})


def _hold(conditions: object) -> tuple[HoldKind | None, int | None]:
    """What keeps the next issuance waiting, and for which generation that was said."""
    suspended = _condition(conditions, "IssuanceSuspended")
    if suspended.get("status") == "True":
        return "IssuanceSuspended", _integer(suspended.get("observedGeneration"))
    waiting, ready = _condition(conditions, "Issuing"), _condition(conditions, "Ready")
    if (waiting.get("status"), waiting.get("reason")) == ("False", "Failed"):
        return "Failed", _integer(waiting.get("observedGeneration"))
    for said in (waiting, ready):
        if said.get("reason") == "QuotaExceeded":
            return "QuotaExceeded", _integer(said.get("observedGeneration"))
    return None, None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _uuid(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
