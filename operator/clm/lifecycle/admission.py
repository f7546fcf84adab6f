"""Whether, and by whom, a Certificate may be issued: everything that is decided before anything is touched."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.errors import InvalidInput
from clm.lifecycle.authorities import NotIssuing
from clm.lifecycle.status import Refusal
from clm.lifecycle.view import Key
from clm.pki.algorithms import chosen_hash
from clm.pki.csr import requested
from clm.pki.tbs import check_names
from clm.pki.urls import Publishing
from clm.policy.evaluate import Request, evaluate
from clm.resources.certificate import CertificateSpec, parse_certificate
from clm.resources.policy import CaIssuer, PolicySpec
from clm.resources.problems import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.cluster.client import ApiClient
    from clm.lifecycle.authorities import Authorities
    from clm.lifecycle.view import ClusterView, PolicyView
    from clm.pki.profile import Issuer
    from clm.pki.weak_keys import KnownKeys


_NO_PUBLIC_URL = (
    "spec.authority: this installation has no public URL to write into certificates; set CLM_PUBLIC_URL to the address"
    " at which clients reach `clm responder`, or remove spec.authority"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A Certificate that may be issued. `issuer` is None where it signs itself.

    `publishing` is what its issuer publishes; None where that is nothing. `issuer_chain` names the certificates above,
    as the issuer's status does.
    """

    spec: CertificateSpec
    policy: PolicyView
    issuer: Issuer | None
    issuer_name: str
    publishing: Publishing | None = None
    issuer_chain: str = ""


class Admission:
    """Decides on Certificates by what the view knows. `public_url` is the base of the URLs in certificates."""

    def __init__(
        self,
        *,
        view: ClusterView,
        authorities: Authorities,
        client: ApiClient,
        known_keys: KnownKeys,
        public_url: str | None = None,
    ) -> None:
        self._view = view
        self._authorities = authorities
        self._client = client
        self._public_url = public_url
        self._known_keys = known_keys

    async def admit(self, key: Key, body: Mapping[str, Any]) -> Admitted | Refusal:  # noqa: PLR0911 - one a refusal
        """Decide on one Certificate. Raises an Unavailable when a dependency that must be asked is away."""
        try:
            spec = parse_certificate(body.get("spec") or {})
            if spec.request is not None:
                spec = await asyncio.to_thread(requested, spec, self._known_keys)
            check_names(spec)
        except InvalidInput as error:
            return Refusal("InvalidSpec", str(error))
        if spec.unsupported:
            return Refusal("NotSupported", _not_supported(spec.unsupported))
        if spec.authority is not None and self._public_url is None:
            return Refusal("NoPublicUrl", _NO_PUBLIC_URL)
        owner = self._view.secret_owner(key.namespace, spec.secret_name)
        if owner is not None and owner != key:
            return Refusal("SecretConflict", _taken(spec.secret_name, owner))
        policy = self._view.policy(spec.policy) or await self._read_policy(spec.policy)
        if policy is None:
            return Refusal("PolicyNotFound", f'spec.policyRef.name: there is no Policy "{spec.policy}"; create it')
        if policy.spec is None:
            return Refusal("PolicyNotReady", f"Policy {policy.name} is invalid: {policy.problem}")
        if policy.spec.unsupported:
            return Refusal("PolicyNotReady", f"Policy {policy.name}: {_not_supported(policy.spec.unsupported)}")
        refusal = await self._violations(key, spec, policy.name, policy.spec)
        if refusal is not None:
            return refusal
        return await self._issuer(key, spec, policy, policy.spec)

    async def _violations(self, key: Key, spec: CertificateSpec, name: str, policy: PolicySpec) -> Refusal | None:
        request = Request(spec=spec, namespace=key.namespace, namespace_labels=await self._labels(key.namespace))
        decision = evaluate(request, policy)
        if not decision.violations:
            return None
        found = together([violation.message for violation in decision.violations])
        return Refusal("PolicyViolation", f"Policy {name}: {found}")

    async def _issuer(
        self, key: Key, spec: CertificateSpec, policy: PolicyView, policy_spec: PolicySpec
    ) -> Admitted | Refusal:
        if not isinstance(policy_spec.issuer, CaIssuer):
            if not spec.is_ca or spec.private_key.storage != "HSM":
                return Refusal(
                    "PolicyViolation",
                    f"Policy {policy.name} is selfSigned, for root CAs: set spec.isCA with "
                    "spec.privateKey.storage HSM, or refer to a Policy with spec.issuer.ca",
                )
            return _signed_by(Admitted(spec=spec, policy=policy, issuer=None, issuer_name=str(key)))
        wanted = Key(policy_spec.issuer.namespace, policy_spec.issuer.name)
        if wanted == key:
            why = f"Certificate {wanted} cannot be its own issuer; refer to a Policy with spec.issuer.selfSigned"
            return _not_ready(why)
        issuer = await self.issuer(policy_spec.issuer)
        if isinstance(issuer, Refusal):
            return issuer
        publishing = self._publishing(wanted, issuer)
        return _signed_by(
            Admitted(
                spec=spec,
                policy=policy,
                issuer=issuer,
                issuer_name=str(wanted),
                publishing=publishing,
                issuer_chain=self._view.chain_below(wanted) or str(issuer.certificate_id),
            )
        )

    def _publishing(self, ca: Key, issuer: Issuer) -> Publishing | None:
        entry = self._view.get(ca)
        if entry is None or entry.authority is None or self._public_url is None:
            return None
        return Publishing(self._public_url, issuer.key_id, entry.authority)

    async def issuer(self, ca: CaIssuer) -> Issuer | Refusal:
        """CA that a Policy names, or why it does not issue now.

        Raises an Unavailable when a dependency that must be asked is away, KeyMissing when the token lacks its key.
        """
        wanted = Key(ca.namespace, ca.name)
        if self._view.get(wanted) is None:
            await self._read_certificate(wanted)
        entry = self._view.get(wanted)
        if entry is None:
            return _not_ready(f"waiting for the issuing CA: there is no Certificate {wanted}")
        if not entry.is_ca:
            return _not_ready(f"Certificate {wanted} is not a CA: set its spec.isCA")
        if not entry.ready or entry.certificate_id is None:
            reason = entry.ready_reason or "Pending"
            return _not_ready(f"waiting for the issuing CA: Certificate {wanted} is not Ready ({reason})")
        issuer = await self._authorities.issuer(entry.certificate_id)
        if isinstance(issuer, NotIssuing):
            return _not_ready(f"Certificate {wanted} cannot issue: {issuer.why}")
        return issuer

    # At a start the watches fill the view side by side: what it lacks may well be in the cluster.
    async def _read_policy(self, name: str) -> PolicyView | None:
        found = await self._client.get(f"{paths.POLICIES}/{name}")
        return self._view.put_policy(found) if found is not None else None

    async def _read_certificate(self, key: Key) -> None:
        found = await self._client.get(paths.certificate(*key))
        if found is not None:
            self._view.put(found)

    async def _labels(self, namespace: str) -> Mapping[str, str]:
        labels = self._view.namespace_labels(namespace)
        if labels is None:
            found = await self._client.get(f"{paths.NAMESPACES}/{namespace}")
            labels = (found or {}).get("metadata", {}).get("labels") or {}
            self._view.put_namespace(namespace, labels)
        return labels


def _signed_by(admitted: Admitted) -> Admitted | Refusal:
    """Hold `spec.signatureAlgorithm` against the key that will sign."""
    key = admitted.issuer.spec if admitted.issuer is not None else admitted.spec.private_key.key
    try:
        chosen_hash(key, admitted.spec.signature_algorithm, issuer=admitted.issuer_name)
    except InvalidInput as error:
        return Refusal("InvalidSpec", str(error))
    return admitted


def _not_ready(why: str) -> Refusal:
    return Refusal("IssuerNotReady", why, waiting=True)


def _taken(secret_name: str, owner: Key) -> str:
    return (
        f"spec.secretName: the Secret {secret_name} belongs to Certificate {owner.name}, which is older and asks for it"
        " too; choose another name, or wait until that Certificate is deleted or takes another"
    )


def _not_supported(fields: tuple[str, ...]) -> str:
    listed = ", ".join(fields)
    return f"this version does not enforce {listed}; remove what is not enforced, nothing is issued that ignores it"
