"""The spec of a Certificate: read once from the manifest, typed, with every default filled in.

Field names and meaning are those of cert-manager's v1 Certificate. So are the defaults, but for the key: ECDSA P-256
in PKCS#8 instead of RSA 2048 in PKCS#1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from clm.resources.authority import AuthoritySpec, read_authority
from clm.resources.consistency import contradictions
from clm.resources.keys import SIZES, KeyAlgorithm, KeySpec, SignatureAlgorithm
from clm.resources.keystores import NO_KEYSTORES, Keystores, read_keystores
from clm.resources.reading import Reader, Report
from clm.resources.revocation import REASONS, RevocationReason
from clm.resources.signing_request import SigningRequest, read_request
from clm.resources.status import CertificateStatus, parse_status
from clm.resources.subject import (
    NameConstraintItem,
    NameConstraints,
    OtherName,
    Subject,
    read_name_constraints,
    read_other_names,
    read_subject,
)
from clm.resources.usages import read_usages
from clm.resources.windows import RenewalSpec, read_renewal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AuthoritySpec",
    "CertificateSpec",
    "CertificateStatus",
    "NameConstraintItem",
    "NameConstraints",
    "OtherName",
    "PrivateKeySpec",
    "Subject",
    "issuance_hash",
    "parse_certificate",
    "parse_status",
]

DEFAULT_DURATION = timedelta(days=90)

DeletionPolicy = Literal["Retain", "Revoke"]
KeyEncoding = Literal["PKCS1", "PKCS8"]
RotationPolicy = Literal["Always", "Never"]
KeyStorage = Literal["Secret", "HSM", "External"]
OutputFormat = Literal["CombinedPEM", "DER"]

_ALGORITHMS: tuple[KeyAlgorithm, ...] = ("ECDSA", "RSA", "Ed25519")
_ENCODINGS: tuple[KeyEncoding, ...] = ("PKCS8", "PKCS1")
_ROTATION_POLICIES: tuple[RotationPolicy, ...] = ("Always", "Never")
_SIGNATURE_ALGORITHMS: tuple[SignatureAlgorithm, ...] = get_args(SignatureAlgorithm)
_STORAGES: tuple[KeyStorage, ...] = ("Secret", "HSM")  # External is what a request says, not a field
_OUTPUT_FORMATS: tuple[OutputFormat, ...] = ("CombinedPEM", "DER")
_DELETION_POLICIES: tuple[DeletionPolicy, ...] = ("Retain", "Revoke")
_DEFAULT_SIZE: dict[KeyAlgorithm, int] = {"RSA": 2048, "ECDSA": 256, "Ed25519": 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKeySpec:
    """The key of a Certificate: what it is, how it is written, and where it lives."""

    key: KeySpec
    encoding: KeyEncoding = "PKCS8"
    rotation_policy: RotationPolicy = "Always"
    storage: KeyStorage = "Secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSpec:
    """What a Certificate asks for. `unsupported` lists fields that are set and not enforced by this version.

    With `request`, a PKCS#10 request in PEM, the names and the key are that one's: they are here, and with them
    `signing_request`, once `pki.csr.requested` has read it.
    """

    policy: str
    secret_name: str
    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    other_names: tuple[OtherName, ...] = ()
    subject: Subject
    literal_subject: str | None = None
    duration: timedelta
    renew_before: timedelta | None = None
    renew_before_percentage: int | None = None
    renewal: RenewalSpec = field(default_factory=RenewalSpec)
    usages: tuple[str, ...]
    private_key: PrivateKeySpec
    signature_algorithm: SignatureAlgorithm | None = None
    is_ca: bool = False
    max_path_length: int | None = None
    name_constraints: NameConstraints | None = None
    authority: AuthoritySpec | None = None
    secret_labels: Mapping[str, str]
    secret_annotations: Mapping[str, str]
    output_formats: frozenset[OutputFormat] = frozenset()
    keystores: Keystores = NO_KEYSTORES
    deletion_policy: DeletionPolicy = "Retain"
    request: str | None = None
    signing_request: SigningRequest | None = None
    revocation: RevocationReason | None = None
    unsupported: tuple[str, ...] = ()


def parse_certificate(spec: Mapping[str, Any]) -> CertificateSpec:
    """Read the spec of a Certificate, fill in defaults and check what one object can show by itself.

    Raises one InvalidInput that names the first wrong field and whose message tells all of them.
    """
    report = Report()
    reader = Reader(spec, path="spec", report=report)
    _skip_what_asks_for_nothing(reader)
    is_ca = reader.flag("isCA")
    template = reader.child("secretTemplate")
    request = read_request(reader)
    parsed = CertificateSpec(
        policy=reader.child("policyRef").required_text("name"),
        secret_name=reader.required_text("secretName"),
        common_name=reader.text("commonName"),
        dns_names=reader.texts("dnsNames"),
        ip_addresses=reader.texts("ipAddresses"),
        uris=reader.texts("uris"),
        email_addresses=reader.texts("emailAddresses"),
        other_names=read_other_names(reader.children("otherNames")),
        subject=read_subject(reader.child("subject")),
        literal_subject=reader.text("literalSubject"),
        duration=reader.duration("duration") or DEFAULT_DURATION,
        renew_before=reader.duration("renewBefore"),
        renew_before_percentage=reader.integer("renewBeforePercentage", minimum=1, maximum=99),
        renewal=read_renewal(reader.child("renewal")),
        usages=read_usages(reader, is_ca=is_ca),
        private_key=_private_key(reader.child("privateKey"), in_hsm=is_ca and request is None),
        signature_algorithm=_signature_algorithm(reader),
        is_ca=is_ca,
        max_path_length=reader.integer("maxPathLen", maximum=255),
        name_constraints=read_name_constraints(reader),
        authority=read_authority(reader),
        secret_labels=template.text_map("labels"),
        secret_annotations=template.text_map("annotations"),
        output_formats=_output_formats(reader),
        keystores=read_keystores(reader),
        deletion_policy=reader.choice("deletionPolicy", _DELETION_POLICIES, default="Retain"),
        request=request,
        revocation=_revocation(reader),
        unsupported=report.unread(),
    )
    for path, message in contradictions(parsed):
        report.add(path, message)
    report.check()
    return parsed


def issuance_hash(spec: CertificateSpec) -> bytes:
    """SHA-256 over what decides the certificate: the same exactly when nothing new would have to be issued.

    Left out is what only decides where and how it is written, and when it is renewed. Lists of names and usages are
    sets: their order does not count, that of subject attributes does. Changing this re-issues every certificate.
    """
    content: dict[str, object] = {
        "policy": spec.policy,
        "commonName": spec.common_name,
        "dnsNames": sorted(set(spec.dns_names)),
        "ipAddresses": sorted(set(spec.ip_addresses)),
        "uris": sorted(set(spec.uris)),
        "emailAddresses": sorted(set(spec.email_addresses)),
        "otherNames": sorted({(name.oid, name.utf8_value) for name in spec.other_names}),
        "subject": asdict(spec.subject),
        "durationMicroseconds": spec.duration // timedelta(microseconds=1),
        "usages": sorted(set(spec.usages)),
        "key": str(spec.private_key.key),
        "storage": spec.private_key.storage,
        "isCA": spec.is_ca,
        "maxPathLen": spec.max_path_length,
        "nameConstraints": asdict(spec.name_constraints) if spec.name_constraints else None,
    }
    # What came later counts only where it is set: the hash of a spec without it is what it always was.
    if spec.signature_algorithm is not None:
        content["signatureAlgorithm"] = spec.signature_algorithm
    if spec.literal_subject is not None:
        content["literalSubject"] = spec.literal_subject
    if spec.signing_request is not None:
        content["request"] = spec.signing_request.content_sha256
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).digest()


def _skip_what_asks_for_nothing(reader: Reader) -> None:
    """Take fields as read whose value is what happens without them; any other value is unsupported.

    Two are about the request objects of cert-manager, which CLM has none of: any value of theirs is accepted.
    """
    reader.flag("encodeUsagesInRequest")
    reader.integer("revisionHistoryLimit", minimum=1)


def _revocation(reader: Reader) -> RevocationReason | None:
    if reader.peek("revocation") is None:
        return None
    revocation = reader.child("revocation")
    revocation.required_text("reason")
    return revocation.choice("reason", REASONS, default="unspecified")


def _output_formats(reader: Reader) -> frozenset[OutputFormat]:
    formats = reader.children("additionalOutputFormats")
    for each in formats:
        each.required_text("type")
    return frozenset(each.choice("type", _OUTPUT_FORMATS, default="DER") for each in formats)


def _signature_algorithm(reader: Reader) -> SignatureAlgorithm | None:
    if not reader.peek("signatureAlgorithm"):
        return None
    return reader.choice("signatureAlgorithm", _SIGNATURE_ALGORITHMS, default="SHA256WithRSA")


def _private_key(reader: Reader, *, in_hsm: bool) -> PrivateKeySpec:
    algorithm = reader.choice("algorithm", _ALGORITHMS, default="ECDSA")
    size = reader.integer("size") or _DEFAULT_SIZE[algorithm]
    if size not in SIZES[algorithm]:
        allowed = ", ".join(map(str, SIZES[algorithm]))
        reader.problem("size", f"{algorithm} keys have {allowed} bits, not {size}")
        size = _DEFAULT_SIZE[algorithm]
    return PrivateKeySpec(
        key=KeySpec(algorithm, size),
        encoding=reader.choice("encoding", _ENCODINGS, default="PKCS8"),
        rotation_policy=reader.choice("rotationPolicy", _ROTATION_POLICIES, default="Always"),
        storage=reader.choice("storage", _STORAGES, default="HSM" if in_hsm else "Secret"),
    )
