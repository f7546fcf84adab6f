"""A CA in memory: it issues like the real one, from stored bytes, with a cryptography key in the token's place."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from clm.pki import tbs
from clm.pki.algorithms import hash_algorithm, signature_hash
from clm.pki.assemble import assemble, hash_to_sign, verify_signature
from clm.pki.keys import PrivateKey, generate, spki_der
from clm.pki.lint import lint
from clm.pki.profile import Issuer, Urls
from clm.pki.serial import new_serial
from clm.resources.certificate import CertificateSpec, parse_certificate
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.pki.algorithms import HashName

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
P256 = KeySpec("ECDSA", 256)
ROOT: dict[str, Any] = {"commonName": "Root", "isCA": True, "duration": "87600h"}
LEAF: dict[str, Any] = {
    "commonName": "web.shop.svc",
    "dnsNames": ["web.shop.svc"],
    "usages": ["digital signature", "key encipherment", "server auth"],
}


def certificate_spec(manifest: Mapping[str, Any], key: KeySpec = P256) -> CertificateSpec:
    """Read a spec that names its own key."""
    private_key = {"algorithm": key.algorithm, "size": key.size}
    return parse_certificate(
        {"policyRef": {"name": "p"}, "secretName": "s", "privateKey": private_key, "duration": "24h"} | dict(manifest)
    )


def sign(key: PrivateKey, spec: KeySpec, data: bytes, name: HashName | None = None) -> bytes:
    """Sign bytes as a token would, by default with what keys of this kind sign with."""
    name = name or signature_hash(spec)
    if isinstance(key, rsa.RSAPrivateKey):
        assert name is not None
        return key.sign(data, padding.PKCS1v15(), hash_algorithm(name))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert name is not None
        return key.sign(data, ec.ECDSA(hash_algorithm(name)))
    return key.sign(data)


@dataclass
class Keys:
    """Key pairs by name and kind, each made once: RSA is dear."""

    made: dict[tuple[str, KeySpec], PrivateKey] = field(default_factory=dict)

    def get(self, name: str, spec: KeySpec = P256) -> PrivateKey:
        """Return a key pair."""
        if (name, spec) not in self.made:
            self.made[name, spec] = generate(spec)
        return self.made[name, spec]


@dataclass
class Authority:
    """A CA: its key, and itself as an issuer."""

    keys: Keys
    throwaway: tbs.ThrowawayKeys
    key: PrivateKey
    issuer: Issuer

    @classmethod
    def root(
        cls, keys: Keys, throwaway: tbs.ThrowawayKeys, manifest: Mapping[str, Any] = ROOT, spec: KeySpec = P256
    ) -> Authority:
        """Make a CA that signed its own certificate."""
        key = keys.get("root", spec)
        own = cls(
            keys, throwaway, key, Issuer.self_signed(key_id=uuid.uuid4(), spec=spec, spki=spki_der(key.public_key()))
        )
        return own.promoted(own.issue(certificate_spec(manifest, spec), key), spec, key)

    def below(self, manifest: Mapping[str, Any], spec: KeySpec = P256, *, name: str = "intermediate") -> Authority:
        """Make a CA that this one certifies."""
        key = self.keys.get(name, spec)
        return self.promoted(self.issue(certificate_spec(manifest, spec), key), spec, key)

    def promoted(self, certificate: bytes, spec: KeySpec, key: PrivateKey) -> Authority:
        """Make an issuer of a certificate that this one issued."""
        issuer = Issuer.from_chain(
            (certificate, *self.issuer.chain), key_id=uuid.uuid4(), spec=spec, certificate_id=uuid.uuid4()
        )
        return Authority(self.keys, self.throwaway, key, issuer)

    def draft(
        self, spec: CertificateSpec, subject_key: PrivateKey, urls: Urls = tbs.NO_URLS, *, no_check: bool = False
    ) -> tbs.Draft:
        """Build the bytes to be signed."""
        not_before, not_after = tbs.validity(spec, self.issuer, NOW)
        return tbs.build_tbs(
            spec,
            issuer=self.issuer,
            public_key=subject_key.public_key(),
            serial=new_serial(os.urandom),
            not_before=not_before,
            not_after=not_after,
            throwaway=self.throwaway,
            urls=urls,
            no_check=no_check,
        )

    def issue(
        self, spec: CertificateSpec, subject_key: PrivateKey, urls: Urls = tbs.NO_URLS, *, no_check: bool = False
    ) -> bytes:
        """Issue a certificate: build, lint, sign the stored bytes, assemble, verify."""
        draft = self.draft(spec, subject_key, urls, no_check=no_check)
        assert lint(draft, issuer=self.issuer) == ()
        name = hash_to_sign(draft.tbs, spec=self.issuer.spec)
        signature = sign(self.key, self.issuer.spec, draft.tbs, name)
        verify_signature(draft.tbs, signature, public_key=self.issuer.public_key, hash_name=name)
        return assemble(draft.tbs, signature, spec=self.issuer.spec)

    def leaf(self, manifest: Mapping[str, Any] = LEAF, spec: KeySpec = P256) -> bytes:
        """Issue a certificate for a leaf's key."""
        return self.issue(certificate_spec(manifest, spec), self.keys.get("leaf", spec))
