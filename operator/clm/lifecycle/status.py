"""What a Certificate's status says: pure, from an outcome to a merge patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clm.cluster.secrets import SecretVersion
from clm.lifecycle.authority_health import CONDITION as HEALTH
from clm.lifecycle.authority_health import health_conditions
from clm.lifecycle.contest import contested_conditions, contested_secret
from clm.resources.conditions import find, remove_condition, set_condition
from clm.resources.problems import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.lifecycle.contest import Contest
    from clm.lifecycle.ending import Ended
    from clm.lifecycle.publish import Publication
    from clm.resources.certificate import CertificateSpec


_WINDOW_MISSED = {
    "reason": "NoWindowBeforeExpiry",
    "message": "none of spec.renewal.windows opens before the certificate ends: it is renewed outside of them",
}


class Refusal(NamedTuple):
    """Why a Certificate is not Ready. `waiting`: it will go on by itself; else somebody has to change something."""

    reason: str
    message: str
    waiting: bool = False


def ready_status(
    body: Mapping[str, Any],
    publication: Publication,
    secret: SecretVersion,
    *,
    now: datetime,
    contest: Contest | None = None,
) -> dict[str, Any]:
    """Status of a Certificate whose certificate stands everywhere; `contest`: its Secret is fought over."""
    facts = publication.facts
    generation = body["metadata"]["generation"]
    conditions = set_condition(
        _conditions(body),
        type="Ready",
        status="True",
        reason="Ready",
        message="Certificate is up to date and has not expired",
        observed_generation=generation,
        now=now,
    )
    for kind in ("Reconciling", "Stalled", "WindowMissed", "Revoked"):
        conditions = remove_condition(conditions, kind)
    conditions = contested_conditions(conditions, contest, generation=generation, now=now)
    if _signs_for_us(publication.spec) and find(conditions, HEALTH) is None:
        conditions = health_conditions(conditions, (), generation=generation, now=now)  # spares a write of its own
    if publication.renewal.window_missed:
        missed: dict[str, Any] = {"observed_generation": generation, "now": now, **_WINDOW_MISSED}
        conditions = set_condition(conditions, type="WindowMissed", status="True", **missed)
    return {
        "observedGeneration": generation,
        "conditions": conditions,
        "serialNumber": facts.serial_number.hex(":"),
        "fingerprint": facts.fingerprint_sha256.hex(":"),
        "notBefore": time_text(facts.not_before),
        "notAfter": time_text(facts.not_after),
        "renewalTime": time_text(publication.renewal.at) if publication.renewal.at else None,
        "revision": publication.revision,
        "certificateId": str(publication.id),
        "keyIdentifier": facts.subject_key_identifier.hex(":"),
        "issuer": {
            "name": publication.issuer_name,
            "certificateId": str(publication.issuer_certificate_id or publication.id),
            "keyIdentifier": (facts.authority_key_identifier or b"").hex(":"),
            "chain": publication.issuer_chain.split(",") if publication.issuer_chain else [],
        },
        "secret": {
            "uid": secret.uid,
            "resourceVersion": secret.resource_version,
            **contested_secret(body.get("status") or {}, contest),
        },
        "keystorePasswords": _password_secrets(publication),
    }


def _signs_for_us(spec: CertificateSpec) -> bool:
    return spec.is_ca and spec.private_key.storage == "HSM" and spec.signing_request is None


def contested_status(body: Mapping[str, Any], contest: Contest | None, *, now: datetime) -> dict[str, Any]:
    """Status of a Certificate whose Secret could not be put right, because somebody else wrote it first."""
    if contest is None:
        return {}
    generation = body["metadata"]["generation"]
    status = body.get("status") or {}
    return {
        "conditions": contested_conditions(_conditions(body), contest, generation=generation, now=now),
        "secret": {**(status.get("secret") or {}), **contested_secret(status, contest)},
    }


def _password_secrets(publication: Publication) -> list[dict[str, str]] | None:
    versions = sorted(publication.passwords.versions.items())
    return [{"name": name, "resourceVersion": version} for name, version in versions] or None


def refused_status(body: Mapping[str, Any], refusal: Refusal, *, now: datetime) -> dict[str, Any]:
    """Status of a Certificate that is not what its spec asks for, and why."""
    generation = body["metadata"]["generation"]
    message = refusal.message
    # Lists of problems end at a whole one; this is for a single one that is too long.
    if len(message) > MESSAGE_LIMIT:
        message = message[: MESSAGE_LIMIT - 1] + "…"
    said = {"reason": refusal.reason, "message": message, "observed_generation": generation, "now": now}
    conditions = set_condition(_conditions(body), type="Ready", status="False", **said)
    present, absent = ("Reconciling", "Stalled") if refusal.waiting else ("Stalled", "Reconciling")
    conditions = set_condition(remove_condition(conditions, absent), type=present, status="True", **said)
    return {"observedGeneration": generation, "conditions": conditions}


def revoked_status(body: Mapping[str, Any], ended: Ended, *, now: datetime) -> dict[str, Any]:
    """Status of a Certificate whose spec.revocation has been carried out. What it names is what was revoked."""
    generation = body["metadata"]["generation"]
    refused = refused_status(body, Refusal("Revoked", ended.message), now=now)
    conditions = set_condition(
        refused["conditions"],
        type="Revoked",
        status="True",
        reason=ended.reason,
        message=ended.message,
        observed_generation=generation,
        now=ended.since or now,
    )
    return {
        "observedGeneration": generation,
        "conditions": remove_condition(conditions, "Issuing"),
        "renewalTime": None,
        "failedIssuanceAttempts": None,
        "lastFailureTime": None,
        "nextAttemptTime": None,
    }


def changes(body: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Part of a status that differs from what the object says; empty when there is nothing to write."""
    current = body.get("status") or {}
    return {key: value for key, value in status.items() if current.get(key) != value}


def secret_of(body: Mapping[str, Any]) -> SecretVersion | None:
    """Secret as it was last written, by the status; None while none was."""
    secret = (body.get("status") or {}).get("secret") or {}
    if "uid" not in secret:
        return None
    return SecretVersion(str(secret["uid"]), str(secret.get("resourceVersion")))


def _conditions(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((body.get("status") or {}).get("conditions") or ())


def time_text(moment: datetime) -> str:
    """Write a moment as Kubernetes does (RFC 3339)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
