"""Rows that both schemas accept, to be changed in the one respect that a test is about."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

TENANT = uuid.UUID(int=1)
OTHER_TENANT = uuid.UUID(int=2)
CLUSTER = uuid.UUID(int=3)
NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOT_AFTER = NOT_BEFORE + timedelta(days=90)


def insert(connection: Connection, table: str, values: dict[str, Any], *, key: str = "id") -> uuid.UUID:
    """Insert one row in a savepoint of its own; give back its id, or what else its key is called."""
    names = list(values)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(map(sql.Placeholder, names)),
        sql.Identifier(key),
    )
    with connection.transaction():
        row = connection.execute(statement, values).fetchone()
    assert row is not None
    made: uuid.UUID = row[0]
    return made


def update(connection: Connection, table: str, row_id: uuid.UUID, **values: object) -> None:
    """Change one row in a savepoint of its own."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
    )
    statement = sql.SQL("UPDATE {} SET {} WHERE id = %(row_id)s").format(sql.Identifier(table), assignments)
    with connection.transaction():
        assert connection.execute(statement, {**values, "row_id": row_id}).rowcount == 1


def key(**changes: object) -> dict[str, Any]:
    """A key-encryption key that is in use."""
    return {
        "organization_id": TENANT, "purpose": "kek", "algorithm": "AES-256", "label": "kek", "state": "active",
        "token_serial": "0123", "check_value": b"check", **changes,
    }  # fmt: skip


def ca_key(**changes: object) -> dict[str, Any]:
    """A CA key that is in use, owned by a Certificate."""
    spki = os.urandom(91)
    return key(
        purpose="ca-signing", algorithm="ECDSA-256", label="ca", check_value=None, spki=spki,
        spki_sha256=hashlib.sha256(spki).digest(), cluster_id=CLUSTER, resource_uid=uuid.uuid4(),
        namespace="clm-system", name="root",
    ) | changes  # fmt: skip


def private_key(kek: uuid.UUID, **changes: object) -> dict[str, Any]:
    """A wrapped leaf key."""
    return {
        "organization_id": TENANT, "encryption_key_id": kek, "algorithm": "ECDSA-256", "wrapped_dek": os.urandom(60),
        "ciphertext": os.urandom(150), "spki_sha256": os.urandom(32), **changes,
    }  # fmt: skip


def request(issuer_key: uuid.UUID, **changes: object) -> dict[str, Any]:
    """An intent that waits to be signed."""
    return {
        "organization_id": TENANT, "cluster_id": CLUSTER, "resource_uid": uuid.uuid4(), "namespace": "shop",
        "name": "web", "revision": 1, "generation": 1, "spec_hash": os.urandom(32), "policy_name": "internal",
        "issuer_key_id": issuer_key, "serial_number": b"\x40" + os.urandom(15), "tbs": b"0\x82", "reason": "initial",
        "signature_algorithm": "ecdsa-with-SHA256", "not_before": NOT_BEFORE, "not_after": NOT_AFTER, **changes,
    }  # fmt: skip


def certificate(request_id: uuid.UUID, issuer_key: uuid.UUID, **changes: object) -> dict[str, Any]:
    """A recorded leaf certificate."""
    der = os.urandom(500)
    return {
        "id": request_id, "request_id": request_id, "organization_id": TENANT, "cluster_id": CLUSTER,
        "resource_uid": uuid.uuid4(), "namespace": "shop", "name": "web", "revision": 1, "spec_hash": os.urandom(32),
        "issuer_key_id": issuer_key, "serial_number": b"\x40" + os.urandom(15), "certificate": der,
        "fingerprint_sha256": hashlib.sha256(der).digest(), "spki_sha256": os.urandom(32), "subject": "CN=web",
        "issuer": "CN=root", "subject_key_identifier": os.urandom(20), "not_before": NOT_BEFORE,
        "not_after": NOT_AFTER, **changes,
    }  # fmt: skip


def metadata(**changes: object) -> dict[str, Any]:
    """A certificate in the inventory."""
    return {
        "id": uuid.uuid4(), "organization_id": TENANT, "cluster_id": CLUSTER, "resource_uid": uuid.uuid4(),
        "namespace": "shop", "name": "web", "revision": 1, "policy_name": "internal", "issuer_key_id": uuid.uuid4(),
        "serial_number": b"\x40" + os.urandom(15), "fingerprint_sha256": os.urandom(32), "key_algorithm": "ECDSA-256",
        "not_before": NOT_BEFORE, "not_after": NOT_AFTER, **changes,
    }  # fmt: skip
