"""What else is looked at before a certificate is issued for a key that somebody brought, or no longer brings.

Neither costs a plain Certificate anything: only one with a request, or one that had a request before, is looked at.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from clm.cluster.secrets import OPAQUE, TLS
from clm.lifecycle.status import Refusal

if TYPE_CHECKING:
    from clm.cluster.secrets import SecretStore
    from clm.resources.certificate import CertificateSpec
    from clm.resources.records import Owner, Revision
    from clm.storage.secure.compromised_keys import CompromisedKeyStore


class BroughtKeys:
    """Says why a certificate is not to be issued, before anything is made for it."""

    def __init__(self, *, secrets: SecretStore, compromised: CompromisedKeyStore) -> None:
        self._secrets = secrets
        self._compromised = compromised

    async def objection(self, owner: Owner, spec: CertificateSpec, newest: Revision | None) -> Refusal | None:
        """Reason against issuing; None when there is none. `newest` is the object's newest revision.

        Raises DatabaseUnavailable, ClusterUnavailable.
        """
        return await self._wrong_type(owner, spec, newest) or await self._is_compromised(spec)

    async def _wrong_type(self, owner: Owner, spec: CertificateSpec, newest: Revision | None) -> Refusal | None:
        """The Secret stands, and is of the type that has a key while there is none, or the other way round."""
        wanted = TLS if spec.private_key.storage == "Secret" else OPAQUE
        expected = TLS if newest is None or newest.private_key_id is not None else OPAQUE
        if wanted == expected:
            return None
        standing = await self._secrets.type_of(owner.namespace, spec.secret_name)
        if standing in (None, wanted):
            return None
        has = "has the private key" if wanted == TLS else "has the certificate only"
        return Refusal(
            "SecretTypeFixed",
            f"spec.request: the Secret now {has} and needs the type {wanted}, but {spec.secret_name} is {standing}, and"
            " a Secret keeps its type; delete it, or set another spec.secretName, and the certificate is issued",
        )

    async def _is_compromised(self, spec: CertificateSpec) -> Refusal | None:
        request = spec.signing_request
        if request is None or not await self._compromised.has(hashlib.sha256(request.spki).digest()):
            return None
        return Refusal(
            "InvalidSpec",
            "spec.request: its key must not be certified: a certificate with it was revoked because it was compromised;"
            " make another key",
        )
