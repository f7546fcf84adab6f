"""Draws up the intent: everything about a certificate that is decided before it is signed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.errors import KeyMismatch, KeyMissing, LintFailed
from clm.hsm import envelope
from clm.pki import keys as pki_keys
from clm.pki import sans, serial, tbs
from clm.pki.algorithms import chosen_hash, signature_name
from clm.pki.lint import lint
from clm.pki.names import common_name_of
from clm.resources.certificate import issuance_hash
from clm.resources.records import Intent, NewPrivateKey
from clm.settings import NAMESPACE

if TYPE_CHECKING:
    from datetime import datetime

    from clm.hsm.token import Token
    from clm.lifecycle.keyring import Keyring
    from clm.lifecycle.rsa_keys import RsaKeys
    from clm.pki.profile import Issuer
    from clm.pki.tbs import ThrowawayKeys
    from clm.pki.urls import Publishing
    from clm.resources.certificate import CertificateSpec
    from clm.resources.keys import KeySpec
    from clm.resources.quotas import Quota
    from clm.resources.records import IssueReason, Owner
    from clm.storage.secure.private_keys import PrivateKeyStore

    PrivateKey = pki_keys.PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One certificate to be made. `subject_key_id` names a key in the token, `reuse_key_id` a stored one.

    `subject_spki` is the public key of one that is not CLM's to open: in the token, or brought with a request.
    `publishing` is what the issuer publishes, by the URLs that go into the certificate. `responder`: it signs OCSP
    answers for its issuer, and is not looked up in turn.
    """

    owner: Owner
    organization_id: uuid.UUID
    spec: CertificateSpec
    generation: int
    revision: int
    reason: IssueReason
    policy_uid: uuid.UUID | None
    policy_generation: int | None
    issuer: Issuer
    publishing: Publishing | None = None
    subject_key_id: uuid.UUID | None = None
    subject_spki: bytes | None = None
    reuse_key_id: uuid.UUID | None = None
    quota: Quota | None = None
    responder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An intent ready to be written down, and the leaf key in memory until it is in its Secret."""

    intent: Intent
    private_key: pki_keys.PrivateKey | None = field(repr=False)


class RequestBuilder:
    """Makes intents."""

    def __init__(
        self,
        *,
        token: Token,
        keyring: Keyring,
        private_keys: PrivateKeyStore,
        throwaway: ThrowawayKeys,
        rsa_keys: RsaKeys,
    ) -> None:
        self._token = token
        self._keyring = keyring
        self._private_keys = private_keys
        self._throwaway = throwaway
        self._rsa_keys = rsa_keys
        self._warming: dict[KeySpec, asyncio.Future[PrivateKey]] = {}

    async def prepare(self, order: Order, *, now: datetime) -> Prepared:
        """Choose key, serial and validity, and build the exact bytes to be signed.

        Raises LintFailed when they would break a rule, KeyPending while an RSA key is being generated, KeyMissing,
        HsmUnavailable, DatabaseUnavailable.
        """
        private_key, stored = await self._subject_key(order)
        public_key = (
            pki_keys.load_spki(order.subject_spki) if order.subject_spki is not None else private_key.public_key()  # type: ignore[union-attr]
        )
        brought = order.spec.signing_request
        if pki_keys.key_spec_of(public_key) != order.spec.private_key.key:
            raise KeyMismatch(f"the key is not {order.spec.private_key.key}, as spec.privateKey asks")
        await self._warm_throwaway(order.issuer)
        number = serial.new_serial(os.urandom)
        not_before, not_after = tbs.validity(order.spec, order.issuer, now)
        draft = tbs.build_tbs(
            order.spec,
            issuer=order.issuer,
            public_key=public_key,
            serial=number,
            not_before=not_before,
            not_after=not_after,
            throwaway=self._throwaway,
            urls=order.publishing.urls(number) if order.publishing is not None else tbs.NO_URLS,
            no_check=order.responder,
        )
        findings = lint(draft, issuer=order.issuer)
        if findings:
            raise LintFailed(findings)
        owner = order.owner
        intent = Intent(
            id=uuid.uuid5(NAMESPACE, f"request/{owner.cluster_id}/{owner.resource_uid}/{order.revision}"),
            organization_id=order.organization_id,
            owner=owner,
            revision=order.revision,
            generation=order.generation,
            spec_hash=issuance_hash(order.spec),
            policy_name=order.spec.policy,
            policy_uid=order.policy_uid,
            policy_generation=order.policy_generation,
            issuer_key_id=order.issuer.key_id,
            issuer_certificate_id=order.issuer.certificate_id,
            subject_key_id=order.subject_key_id,
            private_key_id=stored.id if stored else order.reuse_key_id,
            private_key=stored,
            csr=brought.der if brought is not None else None,
            serial_number=serial.serial_to_bytes(number),
            tbs=draft.tbs,
            signature_algorithm=signature_name(
                order.issuer.spec, chosen_hash(order.issuer.spec, order.spec.signature_algorithm)
            ),
            not_before=not_before,
            not_after=not_after,
            common_name=common_name_of(draft.certificate.subject),
            sans=sans.sans_as_records(order.spec),
            is_ca=order.spec.is_ca,
            reason=order.reason,
            quota=order.quota,
        )
        return Prepared(intent=intent, private_key=private_key)

    async def open_key(self, key_id: uuid.UUID) -> pki_keys.PrivateKey:
        """Unwrap a stored private key. Raises KeyMissing, WrapRejected, HsmUnavailable, DatabaseUnavailable."""
        stored = await self._private_keys.get(key_id)
        if stored is None:
            raise KeyMissing(f"private key {key_id} is not stored, or was destroyed")
        pkcs8 = await envelope.open_private_key(
            self._token,
            kek_id=stored.encryption_key_id,
            row_id=stored.id,
            organization_id=stored.organization_id,
            sealed=envelope.Sealed(stored.wrapped_dek, stored.ciphertext),
        )
        return pki_keys.from_pkcs8_der(pkcs8)

    async def _subject_key(self, order: Order) -> tuple[pki_keys.PrivateKey | None, NewPrivateKey | None]:
        if order.subject_spki is not None:
            return None, None  # it is in the token, or stays with whoever made the request
        if order.reuse_key_id is not None:
            try:
                return await self.open_key(order.reuse_key_id), None
            except KeyMissing:
                pass  # it was destroyed since it was looked up; a certificate with a new key is better than none
        key = self._generate(order)
        key_id = uuid.uuid4()
        sealed = await envelope.seal_private_key(
            self._token,
            kek_id=self._keyring.current_id,
            row_id=key_id,
            organization_id=order.organization_id,
            pkcs8=pki_keys.to_pkcs8_der(key),
        )
        stored = NewPrivateKey(
            id=key_id,
            organization_id=order.organization_id,
            encryption_key_id=self._keyring.current_id,
            algorithm=str(order.spec.private_key.key),
            wrapped_dek=sealed.wrapped_dek,
            ciphertext=sealed.ciphertext,
            spki_sha256=hashlib.sha256(pki_keys.spki_der(key.public_key())).digest(),
        )
        return key, stored

    def _generate(self, order: Order) -> pki_keys.PrivateKey:
        spec = order.spec.private_key.key
        if spec.algorithm == "RSA":
            return self._rsa_keys.take(order.owner, spec)
        return pki_keys.generate(spec)  # 10 to 200 microseconds: a thread would cost more

    async def _warm_throwaway(self, issuer: Issuer) -> None:
        """Have the throwaway key of this algorithm: generated once, and not behind the RSA keys of leaves."""
        if self._throwaway.has(issuer.spec):
            return
        warming = self._warming.get(issuer.spec)
        if warming is None:
            warming = asyncio.ensure_future(asyncio.to_thread(self._throwaway.get, issuer.spec))
            self._warming[issuer.spec] = warming
            warming.add_done_callback(lambda _: self._warming.pop(issuer.spec))
        await asyncio.shield(warming)
