"""The CAs that sign: their certificate, their chain, and their key in the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.errors import KeyMissing
from clm.hsm import keys as hsm_keys
from clm.pki.keys import spki_der
from clm.pki.profile import Issuer
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from clm.hsm.token import Token
    from clm.storage.secure.authorities import AuthorityStore, ChainLink


@dataclass(frozen=True, slots=True)
class NotIssuing:
    """Why a CA cannot sign now, in words for a condition."""

    why: str


class Authorities:
    """Issuing CAs by the id of their certificate; each is read and matched to its key once."""

    def __init__(self, *, token: Token, store: AuthorityStore) -> None:
        self._token = token
        self._store = store
        self._issuers: dict[uuid.UUID, Issuer] = {}
        self._chains: dict[uuid.UUID, tuple[str, tuple[bytes, ...]]] = {}
        self._stopped: Mapping[uuid.UUID, str] = {}

    def stop(self, keys: Mapping[uuid.UUID, str]) -> None:
        """Have these keys, and no others, issue nothing; each with why.

        That nothing is signed with them is seen to where an intent is written. This is for telling it beforehand.
        """
        self._stopped = dict(keys)

    def forget(self) -> None:
        """Read every CA anew: the certificate of one of them was revoked."""
        self._issuers.clear()

    async def issuer(self, certificate_id: uuid.UUID) -> Issuer | NotIssuing:
        """CA whose certificate has this id. Raises HsmUnavailable, DatabaseUnavailable, KeyMissing, KeyMismatch."""
        known = self._issuers.get(certificate_id)
        if known is not None:
            why = self._stopped.get(known.key_id)
            return NotIssuing(why) if why is not None else known
        links = await self._store.chain(certificate_id)
        if not links:
            return NotIssuing("its certificate is not recorded")
        own = links[0]
        if own.key_id is None or own.key_algorithm is None:
            return NotIssuing("its key is not in the HSM (spec.privateKey.storage: HSM)")
        if own.state != "active" or any(link.state == "revoked" for link in links):
            return NotIssuing(_ended(own))
        if own.key_id in self._stopped:
            return NotIssuing(self._stopped[own.key_id])
        issuer = await self._load(own, own.key_id, own.key_algorithm, links)
        self._issuers[certificate_id] = issuer
        return issuer

    async def chain(self, certificate_id: uuid.UUID | None, *, as_of: str) -> tuple[bytes, ...]:
        """Certificates above one that this CA certificate signed, in DER, up to the root; none for a self-signed one.

        Of each CA it is the newest certificate of the same key and name: a CA that was renewed is shown renewed, above
        what it has signed before as well. `as_of` says what the view knows of that chain: it is read once for each.
        """
        if certificate_id is None:
            return ()
        known = self._chains.get(certificate_id)
        if known is not None and known[0] == as_of:
            return known[1]
        chain = tuple(link.certificate for link in await self._store.newest_chain(certificate_id))
        self._chains[certificate_id] = (as_of, chain)
        return chain

    async def _load(self, own: ChainLink, key_id: uuid.UUID, algorithm: str, links: list[ChainLink]) -> Issuer:
        issuer = Issuer.from_chain(
            tuple(link.certificate for link in links),
            key_id=key_id,
            spec=KeySpec.parse(algorithm),
            certificate_id=own.id,
        )
        recorded = spki_der(issuer.public_key)
        found = await hsm_keys.find_signing_key(self._token, key_id, spki=recorded)
        # Matched by public key, not by label or id: a token restored from the wrong backup has both.
        if found is None or found.spki != recorded:
            raise KeyMissing(
                f"the token {self._token.label} does not hold the CA key {key_id}; restore it, CA keys are never remade"
            )
        return issuer


def _ended(own: ChainLink) -> str:
    return f"its certificate is {own.state}" if own.state != "active" else "the certificate of a CA above it is revoked"
