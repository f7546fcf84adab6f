"""Has a recorded certificate stand everywhere.

1. clm_core_db knows it (inventory and audit).
2. The Secret holds it.
Both at once: they share nothing. The status follows, written by the caller, and last of all the outbox row goes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.cluster.secrets import (
    CERTIFICATE_NAME,
    OPAQUE,
    TEMPLATE_ANNOTATIONS,
    TEMPLATE_LABELS,
    TLS,
    SecretContent,
)
from clm.lifecycle.inventory import Listed, inventory_entry
from clm.lifecycle.keystore_passwords import NO_PASSWORDS, Passwords
from clm.lifecycle.secret_files import check_size, further_files
from clm.pki import chain as pki_chain
from clm.pki import keys as pki_keys

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Mapping

    from clm.cluster.secrets import SecretStore, SecretVersion
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.holds import Hold
    from clm.lifecycle.renewal import Renewal
    from clm.pki.chain import CertificateFacts
    from clm.pki.keys import PrivateKey
    from clm.resources.certificate import CertificateSpec
    from clm.resources.records import Owner
    from clm.storage.core.metadata import MetadataStore
    from clm.storage.secure.history import HistoryStore


_LIST_LIMIT = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A recorded certificate and all that its inventory row and its Secret are made of.

    `chain` is what the record says of the CAs above, `issuer_chain` the ids of those that the issuer's status named.
    """

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    spec: CertificateSpec
    certificate: bytes
    facts: CertificateFacts
    chain: tuple[bytes, ...]
    issuer_key_id: uuid.UUID
    issuer_certificate_id: uuid.UUID | None
    issuer_name: str
    issuer_chain: str = ""
    policy_name: str
    policy_generation: int | None
    renewal: Renewal
    hold: Hold | None = None
    private_key: PrivateKey | None = field(repr=False)
    passwords: Passwords = NO_PASSWORDS


async def _never(_owner: Owner, _secret_name: str, _former: str, /) -> bool:
    return False


class Publisher:
    """Writes the inventory and the Secret.

    `may_take(owner, secret name, former)` tells whether a Secret that was written for the Certificate `former` may be
    taken over from it.
    """

    def __init__(
        self,
        *,
        metadata: MetadataStore,
        secrets: SecretStore,
        history: HistoryStore,
        boundary: Boundary,
        may_take: Callable[[Owner, str, str], Awaitable[bool]] = _never,
    ) -> None:
        self._may_take = may_take
        self._metadata = metadata
        self._history = history
        self._secrets = secrets
        self._boundary = boundary

    async def publish(
        self, publication: Publication, *, probably_new: bool, known: SecretVersion | None
    ) -> SecretVersion:
        """Write what is missing. Safe to repeat; what stands as it should is not written again.

        A process that was paused may come with a certificate that another has replaced: the record tells, and its
        Secret is left alone. What the Secret says of itself tells nothing, since people can edit it.

        Raises NotOurs when somebody else's Secret is in the way, StaleObject, Refused (SecretTooLarge among it) or an
        Unavailable.
        """
        listed = asyncio.ensure_future(self._write_core(publication))
        try:
            content = await _content(publication)
            version = await self._secrets.publish(
                content,
                probably_new=probably_new,
                known=known,
                is_current=lambda: self._history.is_live(publication.id),
                may_take=partial(self._may_take, publication.owner, publication.spec.secret_name),
            )
            self._boundary("publish.secret-written")
        finally:
            # Whatever became of the Secret, the inventory knows every certificate that was signed.
            await listed
        return version

    async def _write_core(self, publication: Publication) -> None:
        await self._metadata.put(*inventory_entry(_listed(publication), publication.facts))
        self._boundary("publish.core-written")


async def _content(publication: Publication) -> SecretContent:
    if any(publication.spec.keystores):
        # A keystore takes tens of milliseconds, and mostly without the GIL.
        return await asyncio.to_thread(secret_content, publication)
    return secret_content(publication)


def secret_content(publication: Publication) -> SecretContent:
    """What the Secret of this certificate holds: leaf first, then intermediates; the root apart in `ca.crt`.

    The same publication gives the same bytes. Raises SecretTooLarge.
    """
    spec, key = publication.spec, publication.private_key
    bundle = pki_chain.bundle(publication.certificate, publication.chain)
    data = {"tls.crt": bundle.certificates, "ca.crt": bundle.root}
    if key is not None:
        data["tls.key"] = pki_keys.to_pem(key, spec.private_key.encoding)
        data |= further_files(
            spec, key=key, bundle=bundle, passwords=publication.passwords.by_path, created=publication.facts.not_before
        )
    check_size(spec, data)
    return SecretContent(
        namespace=publication.owner.namespace,
        name=spec.secret_name,
        type=TLS if key is not None else OPAQUE,
        data=data,
        labels={**spec.secret_labels, paths.MANAGED_LABEL: "true"},
        annotations={**spec.secret_annotations, **_from_template(spec), **_annotations(publication)},
    )


def _from_template(spec: CertificateSpec) -> Mapping[str, str]:
    names = {
        TEMPLATE_LABELS: ",".join(sorted(spec.secret_labels)),
        TEMPLATE_ANNOTATIONS: ",".join(sorted(spec.secret_annotations)),
    }
    return {name: listed for name, listed in names.items() if listed}


def _annotations(publication: Publication) -> Mapping[str, str]:
    spec = publication.spec
    lists = {
        "clm-operator.io/alt-names": ",".join(spec.dns_names),
        "clm-operator.io/ip-sans": ",".join(spec.ip_addresses),
        "clm-operator.io/uri-sans": ",".join(spec.uris),
    }
    return {
        CERTIFICATE_NAME: publication.owner.name,
        "clm-operator.io/certificate-id": str(publication.id),
        "clm-operator.io/revision": str(publication.revision),
        "clm-operator.io/policy-name": publication.policy_name,
        "clm-operator.io/issuer-name": publication.issuer_name,
        "clm-operator.io/common-name": publication.facts.common_name or "",
        # A list that would fill the space that Kubernetes gives to all annotations is left out: it tells nothing that
        # the certificate does not, and half of it would be taken for the whole.
        **{name: listed for name, listed in lists.items() if len(listed) <= _LIST_LIMIT},
    }


def _listed(publication: Publication) -> Listed:
    return Listed(
        id=publication.id,
        organization_id=publication.organization_id,
        owner=publication.owner,
        revision=publication.revision,
        policy_name=publication.policy_name,
        policy_generation=publication.policy_generation,
        issuer_name=publication.issuer_name,
        issuer_certificate_id=publication.issuer_certificate_id,
        issuer_key_id=publication.issuer_key_id,
        renewal_time=publication.renewal.at,
        secret_name=publication.spec.secret_name,
        status="active",
        requested_by={},
    )
