"""What each user of the databases may do; everything else must be refused.

It is written down apart from the grants on purpose: a migration that grants more has to say so here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from clm.storage.migration_files import DatabaseName

    Columns = Callable[[Collection[str]], set[str]]


def ALL(columns: Collection[str]) -> set[str]:  # noqa: N802 - reads as a word of the table below
    """Every column."""
    return set(columns)


def none(_: Collection[str]) -> set[str]:
    """No column."""
    return set()


def only(names: str) -> Columns:
    """These columns."""
    return lambda _: set(names.split())


def all_but(names: str) -> Columns:
    """Every column but these."""
    return lambda columns: set(columns) - set(names.split())


@dataclass(frozen=True, slots=True)
class Right:
    """What a user may do with a table or view."""

    reads: Columns = none
    adds: Columns = none
    changes: Columns = none
    removes: bool = False


RIGHTS: dict[tuple[DatabaseName, str], dict[str, Right]] = {
    ("secure", "clm_operator_secure"): {
        "active_certificates": Right(reads=ALL),
        "certificate_requests": Right(
            reads=ALL,
            adds=all_but("failure_reason issued_at created_at updated_at deleted_at"),
            changes=only("state requested_by failure_reason issued_at deleted_at"),
        ),
        "certificate_revocations": Right(
            reads=ALL,
            adds=all_but("published_at created_at"),
            changes=only("requested_by comment published_at reason_code invalidity_date"),
        ),
        "certificates": Right(
            reads=ALL,
            adds=all_but("superseded_by published_at created_at updated_at deleted_at"),
            changes=only("secret_name state superseded_by published_at renewal_due_at deleted_at"),
        ),
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL, adds=all_but("first_used_at")),
        "clm_audit.seals": Right(reads=ALL, adds=ALL),
        "clm_meta.erasure_tombstones": Right(reads=ALL, adds=all_but("id")),
        "clm_meta.schema_migrations": Right(reads=ALL),
        "clm_work.outbox": Right(
            reads=ALL,
            adds=all_but("created_at attempts last_error"),
            changes=only("attempts next_attempt_at last_error"),
            removes=True,
        ),
        "clm_work.issuance_quotas": Right(reads=ALL, adds=ALL, changes=only("tokens refilled_at"), removes=True),
        "clm_work.quarantined_objects": Right(
            reads=ALL, adds=all_but("id first_seen_at last_seen_at gone_at"), changes=only("last_seen_at gone_at")
        ),
        "encryption_keys": Right(
            reads=ALL,
            adds=all_but(
                "token_label token_serial token_uri spki spki_sha256 check_value attributes attestation "
                "suspended_at deactivated_at compromised_at destroyed_at legal_hold created_at updated_at "
                "deleted_at"
            ),
            changes=only(
                "state state_reason token_label token_serial token_uri spki spki_sha256 check_value "
                "wrap_algorithm wrapping_key_id wrapped_key attributes attestation activated_at suspended_at "
                "deactivated_at compromised_at destroyed_at oup_ends_at rup_ends_at legal_hold deleted_at"
            ),
        ),
        "expiring_certificates": Right(reads=ALL),
        "key_rotation_history": Right(
            reads=ALL,
            adds=all_but(
                "done_count failed_count remaining_count cursor approvals report failure_reason started_at "
                "progressed_at finished_at created_at"
            ),
            changes=only(
                "to_key_id state total_count done_count failed_count remaining_count cursor requested_by "
                "approvals approval_instance_id report failure_reason started_at progressed_at finished_at"
            ),
        ),
        "private_keys": Right(
            reads=ALL,
            adds=all_but("legal_hold rewrapped_at compromised_at destroyed_at created_at updated_at"),
            changes=only(
                "encryption_key_id wrapped_dek ciphertext state legal_hold rewrapped_at compromised_at destroyed_at"
            ),
        ),
        "secure_audit_log": Right(reads=ALL, adds=all_but("id occurred_at ledger_epoch txid")),
    },
    ("secure", "clm_auditor"): {
        "active_certificates": Right(reads=ALL),
        "certificate_requests": Right(reads=ALL),
        "certificate_revocations": Right(reads=ALL),
        "certificates": Right(reads=ALL),
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL),
        "clm_audit.seals": Right(reads=ALL),
        "clm_meta.erasure_tombstones": Right(reads=ALL),
        "clm_meta.schema_migrations": Right(reads=ALL),
        "clm_work.outbox": Right(reads=ALL),
        "clm_work.issuance_quotas": Right(reads=ALL),
        "clm_work.quarantined_objects": Right(reads=ALL),
        "encryption_keys": Right(reads=all_but("wrapped_key")),
        "expiring_certificates": Right(reads=ALL),
        "key_rotation_history": Right(reads=ALL),
        "private_keys": Right(reads=all_but("wrapped_dek ciphertext")),
        "secure_audit_log": Right(reads=ALL),
    },
    ("secure", "clm_archiver"): {
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL),
        "clm_audit.seals": Right(reads=ALL),
        "clm_meta.schema_migrations": Right(reads=ALL),
        "secure_audit_log": Right(reads=ALL),
    },
    ("core", "clm_operator_core"): {
        "active_users_with_roles": Right(reads=ALL),
        "api_keys": Right(reads=all_but("token_hmac"), changes=only("revoked_at revocation_reason deleted_at")),
        "audit_log": Right(reads=ALL, adds=all_but("id occurred_at ledger_epoch txid")),
        "certificate_metadata": Right(
            reads=ALL,
            adds=all_but("tags metadata notes created_at updated_at deleted_at"),
            changes=only(
                "renewal_time secret_name status owner_user_id requested_by revoked_at revocation_reason deleted_at"
            ),
        ),
        "certificate_summary": Right(reads=ALL),
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL, adds=all_but("first_used_at")),
        "clm_audit.seals": Right(reads=ALL, adds=ALL),
        "clm_meta.erasure_tombstones": Right(reads=ALL, adds=all_but("id")),
        "clm_meta.schema_migrations": Right(reads=ALL),
        "clm_status.crls": Right(
            reads=ALL,
            adds=all_but("published_at needed_until"),
            changes=only("crl_number this_update next_update entry_count crl sha256 published_at needed_until"),
            removes=True,
        ),
        "clm_status.issuers": Right(
            reads=ALL, adds=all_but("updated_at"), changes=all_but("issuer_key_id organization_id spki")
        ),
        "clm_status.ocsp_responders": Right(
            reads=ALL, changes=only("certificate not_after refused_reason"), removes=True
        ),
        "clm_status.revocations": Right(
            reads=ALL,
            adds=all_but("recorded_at"),
            changes=only("reason_code invalidity_date recorded_at"),
            removes=True,
        ),
        "clm_work.integrity_reports": Right(reads=ALL, adds=all_but("id finished_at"), removes=True),
        "notifications": Right(
            reads=ALL,
            adds=all_but("attempts last_error sent_at read_at created_at"),
            changes=only("state attempts next_attempt_at last_error sent_at"),
            removes=True,
        ),
        "organizations": Right(
            reads=ALL,
            adds=only("id name display_name settings"),
            changes=only("display_name status settings deleted_at"),
        ),
        "pending_approvals": Right(reads=ALL),
        "policies": Right(
            reads=ALL,
            adds=all_but("effective_until created_at updated_at deleted_at"),
            changes=only("is_current effective_until changed_by deleted_at"),
        ),
        "roles": Right(reads=ALL),
        "sessions": Right(reads=all_but("token_sha256"), changes=only("revoked_at"), removes=True),
        "user_organizations": Right(reads=ALL, changes=only("left_at")),
        "user_roles": Right(reads=ALL, changes=only("revoked_at revoked_by")),
        "users": Right(
            reads=all_but("password_hash totp_secret_wrapped"),
            changes=only(
                "username display_name email identity_issuer identity_subject password_hash totp_secret_wrapped "
                "status subject_key_id legal_hold erased_at deleted_at"
            ),
        ),
        "workflow_instances": Right(
            reads=ALL,
            adds=all_but(
                "result failure_reason lease_owner lease_until attempts finished_at created_at updated_at deleted_at"
            ),
            changes=only(
                "state requested_by context result failure_reason lease_owner lease_until attempts next_run_at "
                "expires_at started_at finished_at deleted_at"
            ),
        ),
        "workflow_steps": Right(
            reads=ALL,
            adds=all_but("output failure_reason attempts finished_at created_at"),
            changes=only(
                "state approver approver_user_id approver_identity decided_at comment output failure_reason "
                "attempts started_at finished_at"
            ),
        ),
        "workflows": Right(
            reads=ALL, adds=all_but("created_at updated_at deleted_at"), changes=only("is_active deleted_at")
        ),
    },
    ("core", "clm_auditor"): {
        "active_users_with_roles": Right(reads=ALL),
        "api_keys": Right(reads=all_but("token_hmac")),
        "audit_log": Right(reads=ALL),
        "certificate_metadata": Right(reads=ALL),
        "certificate_summary": Right(reads=ALL),
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL),
        "clm_audit.seals": Right(reads=ALL),
        "clm_meta.erasure_tombstones": Right(reads=ALL),
        "clm_meta.schema_migrations": Right(reads=ALL),
        "clm_status.crls": Right(reads=ALL),
        "clm_status.issuers": Right(reads=ALL),
        "clm_status.ocsp_responders": Right(reads=ALL),
        "clm_status.revocations": Right(reads=ALL),
        "clm_work.integrity_reports": Right(reads=ALL),
        "notifications": Right(reads=ALL),
        "organizations": Right(reads=ALL),
        "pending_approvals": Right(reads=ALL),
        "policies": Right(reads=ALL),
        "roles": Right(reads=ALL),
        "sessions": Right(reads=all_but("token_sha256")),
        "user_organizations": Right(reads=ALL),
        "user_roles": Right(reads=ALL),
        "users": Right(reads=all_but("password_hash totp_secret_wrapped")),
        "workflow_instances": Right(reads=ALL),
        "workflow_steps": Right(reads=ALL),
        "workflows": Right(reads=ALL),
    },
    ("core", "clm_archiver"): {
        "audit_log": Right(reads=ALL),
        "clm_audit.archives": Right(reads=ALL),
        "clm_audit.epochs": Right(reads=ALL),
        "clm_audit.sealing_keys": Right(reads=ALL),
        "clm_audit.seals": Right(reads=ALL),
        "clm_meta.schema_migrations": Right(reads=ALL),
    },
    ("core", "clm_responder"): {
        "certificate_metadata": Right(
            reads=only(
                "id issuer_key_id serial_number not_before not_after status revoked_at revocation_reason "
                "updated_at deleted_at"
            )
        ),
        "clm_status.crls": Right(reads=ALL),
        "clm_status.issuers": Right(reads=ALL),
        "clm_status.ocsp_responders": Right(reads=ALL, adds=only("id issuer_key_id organization_id csr origin")),
        "clm_status.revocations": Right(reads=ALL),
    },
    ("core", "clm_webhook"): {
        "organizations": Right(reads=all_but("display_name settings created_at updated_at")),
        "policies": Right(reads=ALL),
        "roles": Right(reads=ALL),
        "user_organizations": Right(reads=ALL),
        "user_roles": Right(reads=ALL),
        "users": Right(
            reads=only(
                "id organization_id username identity_provider identity_issuer identity_subject status deleted_at"
            )
        ),
    },
    ("core", "clm_api"): {
        "active_users_with_roles": Right(reads=ALL),
        "api_keys": Right(
            reads=ALL,
            adds=all_but("last_used_at revoked_at revocation_reason created_at deleted_at"),
            changes=only("last_used_at revoked_at revocation_reason"),
        ),
        "audit_log": Right(reads=ALL, adds=all_but("id occurred_at ledger_epoch txid")),
        "certificate_metadata": Right(reads=ALL, changes=only("owner_user_id tags metadata notes")),
        "certificate_summary": Right(reads=ALL),
        "clm_guard.own_users": Right(reads=ALL),
        "notifications": Right(reads=ALL, changes=only("read_at")),
        "organizations": Right(reads=ALL),
        "pending_approvals": Right(reads=ALL),
        "policies": Right(reads=ALL),
        "roles": Right(
            reads=ALL,
            adds=all_but("is_system created_at updated_at deleted_at"),
            changes=only("display_name description permissions deleted_at"),
        ),
        "sessions": Right(
            reads=ALL,
            adds=all_but("created_at last_seen_at revoked_at"),
            changes=only("mfa_at last_seen_at idle_expires_at revoked_at"),
        ),
        "user_organizations": Right(reads=ALL, adds=all_but("joined_at left_at"), changes=only("is_default left_at")),
        "user_roles": Right(
            reads=ALL, adds=all_but("granted_at revoked_at revoked_by"), changes=only("revoked_at revoked_by")
        ),
        "users": Right(
            reads=all_but("password_hash totp_secret_wrapped"),
            adds=all_but(
                "totp_secret_wrapped totp_last_step failed_login_count locked_until last_login_at subject_key_id "
                "legal_hold erased_at created_at updated_at deleted_at"
            ),
            changes=only(
                "display_name email identity_issuer identity_subject password_hash password_changed_at "
                "totp_secret_wrapped totp_last_step mfa_required status failed_login_count locked_until "
                "last_login_at"
            ),
        ),
        "workflow_instances": Right(reads=ALL, changes=only("next_run_at")),
        "workflow_steps": Right(
            reads=ALL, adds=all_but("input output failure_reason attempts started_at finished_at created_at")
        ),
        "workflows": Right(reads=ALL),
    },
}

# Functions beside those of PostgreSQL and its extensions.
CALLS: dict[tuple[DatabaseName, str], set[str]] = {
    ("secure", "clm_operator_secure"): {"ensure_audit_partitions"},
    ("secure", "clm_auditor"): set(),
    ("secure", "clm_archiver"): {"record_archive", "archive_is_sealed", "drop_archived_partition"},
    ("core", "clm_operator_core"): {"ensure_audit_partitions"},
    ("core", "clm_auditor"): set(),
    ("core", "clm_archiver"): {"record_archive", "archive_is_sealed", "drop_archived_partition"},
    ("core", "clm_responder"): set(),
    ("core", "clm_webhook"): set(),
    ("core", "clm_api"): set(),
}
