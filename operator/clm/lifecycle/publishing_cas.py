"""Keeps what the responder knows of each CA in step with the CA's object: what it publishes, its newest certificate.

What is written stays when the object is deleted: certificates that name the CRL are still out there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from clm.errors import ClmError
from clm.lifecycle.authorities import NotIssuing
from clm.pki.keys import spki_der
from clm.resources.authority import DEFAULT_CRL_LIFETIME, AuthoritySpec, CrlSpec
from clm.storage.core.crls import IssuerRow

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from clm.lifecycle.authorities import Authorities
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.view import ClusterView, Key
    from clm.pki.profile import Issuer
    from clm.storage.core.crls import CrlStore

logger = logging.getLogger(__name__)

_AGAIN_S = 30.0
"""A CA that cannot sign now is looked at again after this long, and not with each round."""


class PublishingCas:
    """Writes clm_status.issuers, on change only. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        view: ClusterView,
        authorities: Authorities,
        store: CrlStore,
        organization_id: uuid.UUID,
        public_url: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._view = view
        self._authorities = authorities
        self._store = store
        self._organization_id = organization_id
        self._public_url = public_url
        self._clock = clock
        self._kept: dict[Key, tuple[object, ...]] = {}
        self._not_before: dict[Key, float] = {}

    async def keep(self, known: dict[uuid.UUID, IssuerRow]) -> bool:
        """Look once at every CA; `known` is what the responder knows. Returns whether anything was written.

        Raises an Unavailable, after which the rest is looked at with the next call.
        """
        if self._public_url is None:
            return False
        changed = False
        for key, entry in self._view.cas():
            state = (entry.certificate_id, entry.authority)
            if entry.certificate_id is None or self._kept.get(key) == state:
                continue
            if entry.authority is None and not any(row.name == str(key) for row in known.values()):
                self._kept[key] = state
                continue
            if self._clock() < self._not_before.get(key, 0.0):
                continue
            self._not_before[key] = self._clock() + _AGAIN_S
            changed |= await self._keep(key, entry, known)
        return changed

    async def _keep(self, key: Key, entry: Entry, known: dict[uuid.UUID, IssuerRow]) -> bool:
        assert entry.certificate_id is not None  # noqa: S101 - see keep
        try:
            issuer = await self._authorities.issuer(entry.certificate_id)
        except ClmError as error:
            logger.warning("%s: what it publishes is noted later: %s", key, error)
            return False
        if isinstance(issuer, NotIssuing):
            # A CA in a Secret publishes nothing; of one whose key is suspended stays what was known.
            return False
        changed = False
        if entry.authority is not None or issuer.key_id in known:
            row = _row(key, issuer, entry.authority or AuthoritySpec(), self._organization_id, self._public_url or "")
            before = known.get(issuer.key_id)
            if before is not None and entry.authority is None:
                row = replace(row, crl_lifetime=before.crl_lifetime, crl_shards=before.crl_shards)
            changed = await self._store.put_issuer(row)
        self._kept[key] = (entry.certificate_id, entry.authority)
        self._not_before.pop(key, None)
        if changed:
            logger.info("%s: publishes %s", key, _said(entry.authority))
        return changed


def _row(key: Key, issuer: Issuer, authority: AuthoritySpec, organization_id: uuid.UUID, public_url: str) -> IssuerRow:
    crl = authority.crl or CrlSpec(lifetime=DEFAULT_CRL_LIFETIME)
    assert issuer.subject is not None  # noqa: S101 - it is read from the CA's certificate
    return IssuerRow(
        issuer_key_id=issuer.key_id,
        organization_id=organization_id,
        name=str(key),
        subject=issuer.subject.public_bytes(),
        spki=spki_der(issuer.public_key),
        certificate=issuer.chain[0],
        chain=list(issuer.chain[1:]),
        base_urls=[public_url],
        crl_enabled=authority.crl is not None,
        crl_lifetime=crl.lifetime,
        crl_shards=crl.shards,
        ocsp_enabled=authority.ocsp,
    )


def _said(authority: AuthoritySpec | None) -> str:
    if authority is None:
        return "nothing new; CRLs go on while certificates name them"
    crl = f"CRLs of {authority.crl.lifetime} in {authority.crl.shards} partitions" if authority.crl else "no CRLs"
    return f"{crl}, {'answers' if authority.ocsp else 'does not answer'} OCSP"
