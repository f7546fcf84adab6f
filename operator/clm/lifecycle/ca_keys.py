"""The key in the HSM that a CA's object signs with: found, made, or the reason why there is none."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from clm.lifecycle.status import Refusal
from clm.resources.certificate import issuance_hash
from clm.resources.records import HsmKeyRow
from clm.settings import NAMESPACE

if TYPE_CHECKING:
    from clm.lifecycle.admission import Admitted
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.resources.keys import KeySpec
    from clm.resources.records import Owner, Revision
    from clm.storage.secure.keys import KeyStore


class CaKeys:
    """Has the keys of CAs made, one an object."""

    def __init__(self, *, organization_id: uuid.UUID, hsm_keys: HsmKeys, keys: KeyStore) -> None:
        self._organization_id = organization_id
        self._hsm_keys = hsm_keys
        self._keys = keys

    async def key_of(self, owner: Owner, admitted: Admitted, newest: Revision | None) -> HsmKeyRow | Refusal | None:
        """Active key of an object whose newest revision is given; None where the spec asks for no key in the HSM.

        Raises what `HsmKeys.ensure` raises.
        """
        wanted = admitted.spec.private_key
        if wanted.storage != "HSM":
            return None
        row = await self._keys.owned_by(owner)
        if row is not None and row.owner != owner and not _is_same_authority(row, admitted, newest):
            row = None  # an earlier object of that name was another CA: its key is not this one's
        if row is not None and row.algorithm != str(wanted.key):
            return Refusal(
                "KeyFixed",
                f"spec.privateKey: the key of this CA is {row.algorithm} in the HSM and stays so; "
                f"set algorithm and size back, or have a KeyRotation change it (asked for: {wanted.key})",
            )
        if row is not None and row.state == "active":
            return row
        if row is not None and row.state != "generating":
            why = f"the key of this CA is {row.state} ({row.state_reason or 'no reason given'})"
            then = "it can be resumed" if row.state == "suspended" else "once it is destroyed, another one is made"
            return Refusal("KeyNotActive", f"{why}; {then}: clm keys", waiting=True)
        if row is None:
            version = await self._keys.next_version(owner)
            row = _new_ca_key(owner, self._organization_id, wanted.key, version=version)
        return await self._hsm_keys.ensure(row)


def _is_same_authority(row: HsmKeyRow, admitted: Admitted, newest: Revision | None) -> bool:
    """Tell whether an earlier object of this name was the very CA that is asked for: its key is then taken over."""
    if row.state == "generating":
        return row.algorithm == str(admitted.spec.private_key.key)  # no certificate was ever made with it
    return newest is not None and newest.spec_hash == issuance_hash(admitted.spec)


def _new_ca_key(owner: Owner, organization_id: uuid.UUID, algorithm: KeySpec, *, version: int) -> HsmKeyRow:
    return HsmKeyRow(
        id=uuid.uuid5(NAMESPACE, f"ca-key/{owner.cluster_id}/{owner.resource_uid}/{version}"),
        organization_id=organization_id,
        purpose="ca-signing",
        algorithm=str(algorithm),
        version=version,
        label=f"clm-ca-{owner.namespace}-{owner.name}-v{version}",
        state="generating",
        owner=owner,
    )
