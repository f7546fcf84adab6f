"""A CA that is renewed keeps its key: what it has signed is shown under its newest certificate, on every level."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cryptography import x509

from clm.lifecycle.authorities import Authorities
from clm.pki.profile import Issuer
from clm.storage.secure.authorities import AuthorityStore
from tests.integration.issuance.workshop import P256

if TYPE_CHECKING:
    from clm.lifecycle.issue import Issued
    from clm.resources.records import HsmKeyRow, Owner
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)


def _manifest(name: str) -> dict[str, Any]:
    return {
        "policyRef": {"name": "p"},
        "secretName": name,
        "commonName": name,
        "isCA": True,
        "duration": "8760h",
        "usages": ["digital signature", "cert sign", "crl sign"],
    }


class _Authority:
    """A CA with its key in the token, that can be issued again."""

    def __init__(self, shop: Workshop, owner: Owner, row: HsmKeyRow) -> None:
        self.shop, self.owner, self.row = shop, owner, row
        self.revision = 0

    async def issue(self, above: Issuer | None, *, now: datetime = NOW, common_name: str | None = None) -> Issued:
        assert self.row.spki is not None
        self.revision += 1
        issuer = above or Issuer.self_signed(key_id=self.row.id, spec=P256, spki=self.row.spki)
        return await self.shop.issue(
            issuer,
            self.owner,
            _manifest(common_name or self.owner.name),
            revision=self.revision,
            now=now,
            subject_key_id=self.row.id,
            subject_spki=self.row.spki,
        )


async def _authority(shop: Workshop, name: str) -> _Authority:
    owner = shop.owner(name)
    return _Authority(shop, owner, await shop.hsm_keys.ensure(shop.ca_key(owner)))


def _as_issuer(ca: _Authority, issued: Issued, *above: Issued) -> Issuer:
    chain = tuple(each.certificate for each in (issued, *above))
    return Issuer.from_chain(chain, key_id=ca.row.id, spec=P256, certificate_id=issued.id)


def _verify(leaf: bytes, chain: tuple[bytes, ...]) -> None:
    certificates = [x509.load_der_x509_certificate(der) for der in (leaf, *chain)]
    for below, above in pairwise(certificates):
        below.verify_directly_issued_by(above)


def test_the_chain_above_a_leaf_follows_its_ca_and_the_root(workshop: Opener) -> None:
    """Root and intermediate are renewed, one after the other; the leaf was signed before and verifies with both."""

    async def act() -> None:
        async with workshop() as shop:
            top, middle = await _authority(shop, "root"), await _authority(shop, "issuing")
            root = await top.issue(None)
            issuing = await middle.issue(_as_issuer(top, root))
            leaf = await shop.issue(_as_issuer(middle, issuing, root), shop.owner("web"))
            authorities = Authorities(token=shop.token, store=AuthorityStore(shop.database))

            before = await authorities.chain(issuing.id, as_of="before")
            assert before == (issuing.certificate, root.certificate)

            root_2 = await top.issue(None, now=LATER)
            assert await authorities.chain(issuing.id, as_of="before") == before
            after = await authorities.chain(issuing.id, as_of="the root was renewed")
            assert after == (issuing.certificate, root_2.certificate)
            _verify(leaf.certificate, after)

            issuing_2 = await middle.issue(_as_issuer(top, root_2), now=LATER)
            last = await authorities.chain(issuing.id, as_of="both were renewed")
            assert last == (issuing_2.certificate, root_2.certificate)
            _verify(leaf.certificate, last)
            assert await authorities.chain(issuing_2.id, as_of="both were renewed") == last
            assert await authorities.chain(None, as_of="") == ()

    asyncio.run(act())


def test_a_ca_that_took_another_name_does_not_stand_above_what_it_signed_before(workshop: Opener) -> None:
    """The key is the same, but a chain is by name as well (RFC 5280 6.1): the former certificate stays in it."""

    async def act() -> None:
        async with workshop() as shop:
            top = await _authority(shop, "root")
            root = await top.issue(None)
            leaf = await shop.issue(_as_issuer(top, root), shop.owner("web"))
            await top.issue(None, now=LATER, common_name="Renamed")
            authorities = Authorities(token=shop.token, store=AuthorityStore(shop.database))
            chain = await authorities.chain(root.id, as_of="")
            assert chain == (root.certificate,)
            _verify(leaf.certificate, chain)

    asyncio.run(act())
