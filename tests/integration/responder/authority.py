"""Stands in for the controller: a CA whose key is here, and the rows that the controller would write for it."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clm.pki.serial import new_serial, serial_to_bytes
from tests.e2e.world import wait
from tests.sql import rows

if TYPE_CHECKING:
    import psycopg

    from clm.pki.keys import PrivateKey

BASE_URL = "http://pki.example.com/clm"


@dataclass
class Authority:
    """A CA and its rows. `connection` is the operator's, in clm_core_db."""

    connection: psycopg.Connection[tuple[Any, ...]]
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key_id: uuid.UUID = field(default_factory=uuid.uuid4)
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:  # noqa: D105
        self.certificate = self._certificate()

    @property
    def name(self) -> x509.Name:
        """Its subject."""
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA {self.key_id}")])

    def publish(self, *, ocsp: bool = True) -> None:
        """Have the responder know it, as it is now."""
        values = {
            "issuer_key_id": self.key_id,
            "organization_id": rows.TENANT,
            "name": f"clm-system/{self.key_id}",
            "subject": self.name.public_bytes(),
            "spki": self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "certificate": self.certificate.public_bytes(Encoding.DER),
            "base_urls": [BASE_URL],
            "crl_enabled": True,
            "crl_lifetime": timedelta(hours=24),
            "crl_shards": 1,
            "ocsp_enabled": ocsp,
        }
        self.connection.execute(
            f"INSERT INTO clm_status.issuers ({', '.join(values)})"
            f" VALUES ({', '.join(f'%({name})s' for name in values)})"
            " ON CONFLICT (issuer_key_id) DO UPDATE SET certificate = excluded.certificate,"
            " ocsp_enabled = excluded.ocsp_enabled, updated_at = clock_timestamp()",
            values,
        )

    def renew(self) -> None:
        """Get a new certificate for the same key."""
        self.certificate = self._certificate()
        self.publish()

    def issue(self, *, status: str = "active", **columns: object) -> x509.Certificate:
        """Issue a certificate that the inventory knows."""
        certificate = self._sign(self._builder("leaf").public_key(self.key.public_key()))
        values = rows.metadata(
            issuer_key_id=self.key_id,
            serial_number=serial_to_bytes(certificate.serial_number),
            status=status,
            **columns,
        )
        rows.insert(self.connection, "certificate_metadata", values)
        return certificate

    def unrecorded(self) -> x509.Certificate:
        """Sign a certificate that nothing is recorded of."""
        return self._sign(self._builder("unrecorded").public_key(self.key.public_key()))

    def revoke(self, certificate: x509.Certificate, reason: int = 1) -> None:
        """Record a revocation."""
        self.connection.execute(
            "INSERT INTO clm_status.revocations (issuer_key_id, serial_number, organization_id, certificate_id,"
            " reason_code, revoked_at, not_after) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                self.key_id,
                serial_to_bytes(certificate.serial_number),
                rows.TENANT,
                uuid.uuid4(),
                reason,
                datetime.now(UTC) - timedelta(minutes=1),
                certificate.not_valid_after_utc,
            ],
        )

    def publish_crl(self, *revoked: x509.Certificate, shards: int = 1, shard: int = 0) -> bytes:
        """Publish a CRL, instead of the one before it."""
        now = datetime.now(UTC).replace(microsecond=0)
        entries = [x509.RevokedCertificateBuilder(each.serial_number, now).build() for each in revoked]
        builder = x509.CertificateRevocationListBuilder(self.name, now, now + timedelta(hours=24), [], entries)
        crl = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)
        self.connection.execute(
            "INSERT INTO clm_status.crls (issuer_key_id, shards, shard, organization_id, crl_number, this_update,"
            " next_update, entry_count, crl, sha256) VALUES (%s, %s, %s, %s, 1, %s, %s, %s, %s, %s)"
            " ON CONFLICT (issuer_key_id, shards, shard) DO UPDATE SET crl = excluded.crl, sha256 = excluded.sha256,"
            " crl_number = crls.crl_number + 1",
            [
                self.key_id, shards, shard, rows.TENANT, now, now + timedelta(hours=24), len(entries), crl,
                hashlib.sha256(crl).digest(),
            ],
        )  # fmt: skip
        return crl

    def certify(self, *, lifetime: timedelta = timedelta(days=1), refuse: str | None = None) -> uuid.UUID:
        """Wait until a replica asks for a certificate, and give or refuse it one. Gives the id of the request."""

        def look() -> tuple[uuid.UUID, bytes] | None:
            found = self.connection.execute(
                "SELECT id, csr FROM clm_status.ocsp_responders"
                " WHERE issuer_key_id = %s AND certificate IS NULL AND refused_reason IS NULL",
                [self.key_id],
            ).fetchone()
            return (found[0], found[1]) if found is not None else None

        request_id, csr = wait(look, "a replica to ask for a certificate")
        if refuse is not None:
            self.connection.execute(
                "UPDATE clm_status.ocsp_responders SET refused_reason = %s WHERE id = %s", [refuse, request_id]
            )
            return request_id
        asked = x509.load_der_x509_csr(csr)
        assert asked.is_signature_valid
        certificate = self.delegate(asked.public_key(), lifetime=lifetime)
        self.connection.execute(
            "UPDATE clm_status.ocsp_responders SET certificate = %s, not_after = %s WHERE id = %s",
            [certificate.public_bytes(Encoding.DER), certificate.not_valid_after_utc, request_id],
        )
        return request_id

    def delegate(
        self, key: Any, *, lifetime: timedelta, usage: x509.ObjectIdentifier | None = None
    ) -> x509.Certificate:
        """Sign a certificate for a responder's key (RFC 6960 4.2.2.2)."""
        extended = x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.OCSP_SIGNING])
        builder = self._builder("OCSP responder", lifetime=lifetime).public_key(key).add_extension(extended, False)
        return self._sign(builder.add_extension(x509.OCSPNoCheck(), False))

    def _certificate(self) -> x509.Certificate:
        now = datetime.now(UTC).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(new_serial(os.urandom))
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        )
        return self._sign(builder)

    def _builder(self, name: str, *, lifetime: timedelta = timedelta(days=30)) -> x509.CertificateBuilder:
        now = datetime.now(UTC).replace(microsecond=0)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.name)
            .serial_number(new_serial(os.urandom))
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + lifetime)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        key = self.key
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return builder.sign(key, hashes.SHA256())
