"""One typed settings object: everything an installation can choose.

Every setting is an environment variable ``CLM_<NAME>`` (the chart's values become these), and has a
default that works under ``clm dev``, except what only the installation can know: the two DSNs and the token.

The DSNs say how the databases are reached, in libpq's form: ``host=db.example dbname=clm_secure_db
user=clm_operator_secure passfile=/run/secrets/pgpass sslmode=verify-full sslrootcert=/run/secrets/ca.crt
sslcert=/run/secrets/tls.crt sslkey=/run/secrets/tls.key``. Over a network only ``sslmode=verify-full`` will do.
"""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from clm.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _typeshed import DataclassInstance

_MOST_URL = 200

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "clm-operator.io")
"""Every derived id of CLM is a UUIDv5 (RFC 9562 5.5) below this one."""


def organization_id(name: str) -> uuid.UUID:
    """Id of the organization of that name: the same in every installation and database."""
    return uuid.uuid5(NAMESPACE, f"organization/{name}")


SYSTEM_ORGANIZATION = organization_id("system")
"""Owns what no tenant owns: key-encryption keys, sealing keys, shared CAs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation chooses. Times are in seconds unless the name says days."""

    secure_dsn: str = field(repr=False)
    """DSN of clm_secure_db, for the user clm_operator_secure. Another machine takes sslmode=verify-full."""
    core_dsn: str = field(repr=False)
    """DSN of clm_core_db, likewise, for the user clm_operator_core."""
    pkcs11_module: str
    """Path of the token's PKCS#11 library."""
    token_label: str = "clm"  # noqa: S105 - the name of a token, not a secret
    """Label of the token."""
    token_serial: str | None = None
    """Serial number of the token, where labels are not unique."""
    token_pin_file: Path
    """File with the user PIN. A wrong PIN is tried once; a change of the file is noticed."""
    cluster_id: uuid.UUID
    """Id of this Kubernetes cluster in the records. Chosen once, and never changed."""
    organization: str = "default"
    """Organization that certificates belong to."""
    namespace: str = "clm-system"
    """Namespace of the operator."""
    public_url: str | None = None
    """Where clients reach the responder, such as http://pki.example.com: for the URLs in certificates."""

    reconcile_workers: int = 64
    """Objects that are worked on at the same time."""
    hsm_workers: int = 1
    """Sessions of the token, each with a thread of its own."""
    keygen_workers: int = 2
    """Threads in which leaf keys are made."""
    database_connections: int = 4
    """Connections to each database at most."""
    api_connections: int = 32
    """Connections to the API server at most."""
    health_port: int = 0
    """Port of /healthz, /readyz and /metrics; 0: they are not served."""
    health_host: str = "127.0.0.1"
    """Address of /healthz, /readyz and /metrics. In a pod 0.0.0.0 (or ::), for the kubelet and Prometheus to reach."""
    events_per_second: float = 5.0
    """Kubernetes Events that are sent at most; what is above is left out."""
    chain_updates_per_second: float = 20.0
    """Certificates that are published again in a second, at most, when their CA or one above it was renewed."""
    sweep_interval_s: float = 60.0
    """How often unfinished work is looked for."""
    renewal_interval_s: float = 300.0
    """How often what falls due is looked for, ahead of its time. At most 450."""
    storm_issuances: int = 10
    """So often may one object be issued anew for one cause (its spec, its CA, a request) before it is suspended."""
    storm_window_s: float = 3600.0
    """Time within which these issuances are counted."""
    storm_pause_s: float = 14400.0
    """For how long after the last of them the object is suspended."""
    deletion_sweep_interval_s: float = 600.0
    """How often certificates are sought whose objects went unseen."""
    integrity_first_s: float = 300.0
    """When, after a start, databases, cluster and token are compared first."""
    integrity_interval_s: float = 3600.0
    """How often they are compared then."""
    keystore_password_interval_s: float = 300.0
    """How often it is asked whether the Secret with the password of a keystore has changed."""
    authority_health_interval_s: float = 60.0
    """How often the certificates, keys and CRLs of the CAs are looked at."""
    key_state_interval_s: float = 15.0
    """How often it is asked whether a CA key was suspended or resumed."""
    cryptoperiod_ca_signing_days: int = 1095
    """Days for which a CA key signs, counted from its activation (SP 800-57 part 1, table 1: 1 to 3 years)."""
    cryptoperiod_key_encryption_days: int = 730
    """Days for which a key-encryption key wraps something new (up to 2 years); it opens for 3 years more."""
    cryptoperiod_audit_sealing_days: int = 730
    """Days for which a key seals the audit logs."""
    retention_interval_s: float = 86400.0
    """How often what is past its retention is let go."""
    retention_audit_days: int = 731
    """Days after which a month of an audit log may be dropped, once it is archived."""
    retention_refused_days: int = 90
    """Days for which failed requests and refused approvals count, and tell who asked."""
    retention_notifications_days: int = 90
    """Days for which notifications stay that are not due any more."""
    retention_sessions_days: int = 30
    """Days for which sessions stay that have ended."""
    retention_reports_days: int = 90
    """Days for which reports of comparisons stay."""
    retention_superseded_keys_days: int = 30
    """Days after which the private key of a superseded certificate is destroyed."""
    retention_revoked_keys_days: int = 7
    """Days after which the private key of a revoked certificate is destroyed."""
    retention_expired_keys_days: int = 90
    """Days after which the private key of an expired certificate is destroyed."""
    publish_interval_s: float = 1.0
    """How often it is asked whether a CRL is due or a responder waits for its certificate."""
    ocsp_certificate_hours: float = 24.0
    """Hours for which a responder's OCSP signing certificate is good; at half of them it asks for another."""
    outage_report_after_s: float = 180.0
    """A dependency that is away for longer is told in the status of whatever waits for it."""
    audit_seal_interval_s: float = 10.0
    """How often the audit logs are sealed."""
    audit_anchor_interval_s: float = 30.0
    """How often, at most, the newest seals are anchored in the ConfigMap clm-audit-anchor."""
    audit_anchor_file: Path | None = None
    """File that the anchors are written to as well; best on another machine's disk."""
    blocked_keys_file: Path | None = None
    """File of keys that spec.request must not bring: the SHA-256 of a SubjectPublicKeyInfo a line, in hexadecimal."""
    badkeys_blocklist_file: Path | None = None
    """The file blocklist.dat of badkeys, which knows the keys of Debian's OpenSSL (CVE-2008-0166) and many others."""
    hsm_deadline_s: float = 30.0
    """How long a request may wait for the token."""
    hsm_call_limit_s: float = 60.0
    """A call into the token's library that lasts longer hangs: the process ends, and is started again."""
    log_level: str = "INFO"
    """Least level that is logged."""
    log_format: str = "text"
    """text, or json for collectors of logs."""

    @property
    def organization_id(self) -> uuid.UUID:
        """Id of the installation's default organization."""
        return organization_id(self.organization)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "str | None": str,
    "int": int,
    "float": float,
    "Path": Path,
    "Path | None": Path,
    "uuid.UUID": uuid.UUID,
}


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings from ``CLM_*`` variables.

    Raises InvalidSetting, which names the variable and never shows its value (a DSN holds a password).
    """
    required = ("secure_dsn", "core_dsn", "pkcs11_module", "token_pin_file", "cluster_id")
    values = read_settings(Settings, environment, required=required)
    for name in ("secure_dsn", "core_dsn"):
        require_verified_tls(values[name], variable=f"CLM_{name.upper()}", environment=environment)
    if "public_url" in values:
        values["public_url"] = public_base_url(values["public_url"])
    return Settings(**values)


def read_settings(
    kind: type[DataclassInstance], environment: Mapping[str, str], *, required: Sequence[str]
) -> dict[str, Any]:
    """Read the variables of one kind of settings. Raises InvalidSetting, also where a `required` one is not set."""
    values: dict[str, Any] = {}
    for spec in fields(kind):
        variable = f"CLM_{spec.name.upper()}"
        text = environment.get(variable)
        if text is None or text == "":
            continue
        try:
            values[spec.name] = _PARSERS[str(spec.type)](text)
        except ValueError:
            raise InvalidSetting(variable, f"is not a valid {spec.type}") from None
    for name in required:
        if name not in values:
            raise InvalidSetting(f"CLM_{name.upper()}", "is not set, and has no default")
    return values


def public_base_url(text: str) -> str:
    """Check the base URL that goes into certificates, and give it without a slash at its end. Raises InvalidSetting."""
    variable = "CLM_PUBLIC_URL"
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise InvalidSetting(variable, "is not a valid URL") from None
    if parts.scheme != "http":
        raise InvalidSetting(variable, "must begin with http://, since CRL and OCSP are needed to check any TLS server")
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise InvalidSetting(variable, "must be http://host[:port][/path], without user, query and fragment")
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > _MOST_URL:
        raise InvalidSetting(variable, f"must be ASCII without spaces, of {_MOST_URL} characters at most")
    return text.rstrip("/")


def require_verified_tls(dsn: str, *, variable: str, environment: Mapping[str, str]) -> None:
    """Refuse a DSN by which a password or a record could go to a server that is not the one meant.

    Unix sockets and the loopback address stay on the machine; every other host needs ``sslmode=verify-full``.
    `environment` completes the DSN as it does for libpq. Raises InvalidSetting, without the DSN's text.
    """
    try:
        parameters = conninfo_to_dict(dsn)
    except ProgrammingError:
        raise InvalidSetting(variable, "is not a valid connection string") from None

    def value(name: str) -> str:
        return str(parameters.get(name) or environment.get(f"PG{name.upper()}") or "")

    if value("service"):
        raise InvalidSetting(variable, "must name its host itself, not by a service")
    # libpq takes lists and tries one after the other. Where both are given, hostaddr is what it connects to.
    hosts = (value("hostaddr") or value("host")).split(",")
    if value("sslmode") != "verify-full" and not all(map(_is_local, hosts)):
        raise InvalidSetting(variable, "must have sslmode=verify-full, because its host is not this machine")


def _is_local(host: str) -> bool:
    if host == "" or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
