"""Builds the exact bytes that will be signed.

The certificate is built once by a maintained library, with a throwaway key of the issuer's algorithm, and its
TBSCertificate (RFC 5280 4.1.1.1) cut out. That throwaway certificate is also what is linted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from clm.errors import InvalidInput
from clm.pki import constraints, keys, names, sans, usages
from clm.pki.algorithms import chosen_hash, hash_algorithm
from clm.pki.profile import Urls
from clm.resources.problems import build_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from clm.pki.keys import PrivateKey, PublicKey
    from clm.pki.profile import Issuer
    from clm.resources.certificate import CertificateSpec
    from clm.resources.keys import KeySpec

    _Extension = tuple[x509.ExtensionType, bool]
    """An extension's value, and whether it is critical."""

BACKDATE = timedelta(minutes=5)
"""How far before its issuance a certificate begins, for clients whose clock is behind."""

NO_URLS = Urls()

_OCSP, _CA_ISSUERS = AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS


class ThrowawayKeys:
    """One key per algorithm, in memory only, whose signatures nobody ever sees."""

    def __init__(self) -> None:
        self._keys: dict[KeySpec, PrivateKey] = {}

    def has(self, spec: KeySpec) -> bool:
        """Tell whether `get` will return at once."""
        return spec in self._keys

    def get(self, spec: KeySpec) -> PrivateKey:
        """Return the key; generate it the first time, which takes up to seconds for RSA."""
        key = self._keys.get(spec)
        if key is None:
            key = self._keys.setdefault(spec, keys.generate(spec))
        return key


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate signed by a throwaway key, and the bytes of it that the real key will sign."""

    certificate: x509.Certificate
    tbs: bytes


def validity(spec: CertificateSpec, issuer: Issuer, now: datetime) -> tuple[datetime, datetime]:
    """First and last second of the certificate, never outside its issuer's.

    It lasts exactly `spec.duration`, the backdated minutes and the last second included (RFC 5280 4.1.2.5), so that
    no certificate lives longer than a Policy allows. Raises InvalidInput when the issuer has expired.
    """
    moment = now.replace(microsecond=0)
    not_before = moment - BACKDATE
    if issuer.not_before is not None:
        not_before = max(not_before, issuer.not_before)
    not_after = not_before + spec.duration - timedelta(seconds=1)
    if issuer.not_after is not None:
        not_after = min(not_after, issuer.not_after)
    if not_after <= max(moment, not_before):
        raise InvalidInput("spec.policyRef", f"the issuing CA expired at {not_after.isoformat()}; renew it first")
    return not_before, not_after


def check_names(spec: CertificateSpec) -> None:
    """Try whether X.509 can carry what is asked for, before anything is made for it.

    Raises one InvalidInput that tells everything it cannot carry.
    """
    makers: list[Callable[[], object]] = [
        *names.subject_makers(spec),
        *sans.name_makers(spec),
        partial(usages.key_usage, spec.usages, algorithm=spec.private_key.key.algorithm),
        partial(usages.extended_key_usage, spec.usages),
    ]
    if spec.name_constraints is not None:
        makers += constraints.subtree_makers(spec.name_constraints)
    build_all(makers)


def build_tbs(  # noqa: PLR0913 - each is one field of the certificate
    spec: CertificateSpec,
    *,
    issuer: Issuer,
    public_key: PublicKey,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    throwaway: ThrowawayKeys,
    urls: Urls = NO_URLS,
    no_check: bool = False,
) -> Draft:
    """Build a certificate by the profile of RFC 5280 4.2. With `no_check` it is one of an OCSP responder.

    Raises InvalidInput for what X.509 cannot carry, and for a signature that the issuer's key does not make.
    """
    subject = names.subject_name(spec)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.subject if issuer.subject is not None else subject,
        subject_name=subject,
        public_key=public_key,
        serial_number=serial,
        not_valid_before=not_before,
        not_valid_after=not_after,
        extensions=[
            x509.Extension(value.oid, critical, value)
            for value, critical in (
                *_key_extensions(spec, issuer, public_key),
                *_name_extensions(spec, subject),
                *_url_extensions(urls),
                # RFC 6960 4.2.2.2.1: nobody asks a responder about its own certificate, which is short-lived instead.
                *([(x509.OCSPNoCheck(), False)] if no_check else []),
            )
        ],
    )
    hash_name = chosen_hash(issuer.spec, spec.signature_algorithm)
    try:
        certificate = builder.sign(throwaway.get(issuer.spec), hash_algorithm(hash_name) if hash_name else None)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidInput("spec", str(error)) from error
    return Draft(certificate, certificate.tbs_certificate_bytes)


def _key_extensions(spec: CertificateSpec, issuer: Issuer, public_key: PublicKey) -> Iterator[_Extension]:
    # 4.2.1.9: critical in a CA's; in a leaf's it does no harm and tells it apart.
    yield x509.BasicConstraints(ca=spec.is_ca, path_length=spec.max_path_length if spec.is_ca else None), True
    usage = usages.key_usage(spec.usages, algorithm=spec.private_key.key.algorithm)
    if usage is not None:
        yield usage, True
    extended = usages.extended_key_usage(spec.usages)
    if extended is not None:
        # RFC 3161 2.3: critical for a time stamping authority, which has no other.
        yield extended, list(extended) == [ExtendedKeyUsageOID.TIME_STAMPING]
    # 4.2.1.2 method 1, the SHA-1 of the key's bits: an identifier, not a safeguard, and what everybody computes.
    yield x509.SubjectKeyIdentifier.from_public_key(public_key), False
    yield x509.AuthorityKeyIdentifier(issuer.key_identifier.digest, None, None), False


def _name_extensions(spec: CertificateSpec, subject: x509.Name) -> Iterator[_Extension]:
    general_names = sans.general_names(spec)
    if general_names:
        # 4.2.1.6: critical when the subject is empty.
        yield x509.SubjectAlternativeName(general_names), not subject.rdns
    if spec.name_constraints is not None:
        yield constraints.name_constraints(spec.name_constraints), spec.name_constraints.critical


def _url_extensions(urls: Urls) -> Iterator[_Extension]:
    """CRLDistributionPoints (4.2.1.13) and AuthorityInfoAccess (4.2.2.1)."""
    if urls.crl:
        points = [x509.UniformResourceIdentifier(url) for url in urls.crl]
        yield x509.CRLDistributionPoints([x509.DistributionPoint(points, None, None, None)]), False
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, listed in ((_OCSP, urls.ocsp), (_CA_ISSUERS, urls.ca_issuers))
        for url in listed
    ]
    if access:
        yield x509.AuthorityInformationAccess(access), False
