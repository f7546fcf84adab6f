"""TLS identities of the environment's servers, each with an authority of its own: no client of one is one of another.

None of this is CLM's own PKI: these certificates exist only between the programs of one machine.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clm.dev.state import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

_BACKDATED = timedelta(minutes=5)
_LIFETIME = timedelta(days=365)
_RENEWED_BEFORE = timedelta(days=30)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_CLUSTER = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.0.0.1",
)

CONTROLLER_USER = "clm-controller"
CONTROLLER_GROUP = "clm:controllers"

API_CLIENTS: dict[str, tuple[str, str | None]] = {
    "admin": ("clm-dev-admin", "system:masters"),
    "controller": (CONTROLLER_USER, CONTROLLER_GROUP),
    "controller-manager": ("system:kube-controller-manager", None),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of one certificate and its key (PEM)."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Identities:
    """All files, below one folder."""

    folder: Path

    @property
    def api_ca(self) -> Path:
        """Authority of the API server and its clients."""
        return self.folder / "api-ca.crt"

    @property
    def etcd_ca(self) -> Path:
        """Authority of etcd and its one client, the API server."""
        return self.folder / "etcd-ca.crt"

    @property
    def postgres_ca(self) -> Path:
        """Authority of one PostgreSQL server and its clients."""
        return self.folder / "postgres-ca.crt"

    @property
    def service_account_key(self) -> Path:
        """Key that service account tokens are signed with."""
        return self.folder / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        """Key that service account tokens are verified with."""
        return self.folder / "service-account.pub"

    def of(self, name: str) -> Identity:
        """Files of a server ("api-server", "etcd") or a client ("admin", "controller", "etcd-client", ...)."""
        return Identity(self.folder / f"{name}.crt", self.folder / f"{name}.key")


def make_identities(folder: Path, *, now: datetime) -> Identities:
    """Make what is missing, and all of an authority anew when a month is left. Safe to repeat after an interruption."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identities = Identities(folder)
    servers = {"api-server": ("kube-apiserver", (*_LOCAL, *_CLUSTER))}
    _make_family(identities, "api-ca", servers, API_CLIENTS, now)
    _make_family(identities, "etcd-ca", {"etcd": ("etcd", _LOCAL)}, {"etcd-client": ("kube-apiserver", None)}, now)
    if not identities.service_account_public_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(identities.service_account_key, _pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(identities.service_account_public_key, public)
    return identities


def make_postgres_identities(folder: Path, *, clients: Sequence[str], now: datetime) -> Identities:
    """Make the identities of one PostgreSQL server and of its users, whose names the certificates carry.

    As `make_identities` does; all of them also when one of `clients` has none.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identities = Identities(folder)
    if not all(identities.of(user).certificate.exists() for user in clients):
        identities.postgres_ca.unlink(missing_ok=True)
    users = {user: (user, None) for user in clients}
    _make_family(identities, "postgres-ca", {"postgres": ("postgres", _LOCAL)}, users, now)
    return identities


def _make_family(
    identities: Identities,
    authority: str,
    servers: Mapping[str, tuple[str, Sequence[str]]],
    clients: Mapping[str, tuple[str, str | None]],
    now: datetime,
) -> None:
    """Make an authority and everything below it; its certificate is written last, and so tells that all is there."""
    certificate_file = identities.of(authority).certificate
    if certificate_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if certificate.not_valid_after_utc - now > _RENEWED_BEFORE:
            return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"clm dev {authority}")])
    builder = _builder(name, key.public_key(), now).issuer_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    for file, (common_name, names) in servers.items():
        _make_leaf(identities.of(file), (certificate, key), common_name, None, names=names, now=now)
    for file, (common_name, organization) in clients.items():
        _make_leaf(identities.of(file), (certificate, key), common_name, organization, names=(), now=now)
    write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))


def _make_leaf(
    files: Identity,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    common_name: str,
    organization: str | None,
    *,
    names: Sequence[str],
    now: datetime,
) -> None:
    certificate, authority_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = _builder(x509.Name(attributes), key.public_key(), now).issuer_name(certificate.subject)
    # An etcd member is a client of itself.
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(authority_id, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
    signed = builder.sign(authority_key, hashes.SHA256())
    write_private(files.key, _pem(key))
    write_private(files.certificate, signed.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + _LIFETIME)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
