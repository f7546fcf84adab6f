"""An object that somebody put under a CLM key's id is found, and the key beside it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pkcs11 import Attribute, KeyType

from clm.lifecycle.authorities import Authorities
from clm.lifecycle.check_token import TokenCheck
from clm.lifecycle.findings import Report
from clm.pki.profile import Issuer
from clm.storage.secure.authorities import AuthorityStore
from clm.storage.secure.quarantine import QuarantineStore

if TYPE_CHECKING:
    import uuid

    from clm.hsm.session import SessionContext
    from tests.integration.issuance.conftest import Opener
    from tests.integration.issuance.workshop import Workshop

_P256 = bytes.fromhex("06082a8648ce3d030107")


def _add_pair(context: SessionContext, key_id: uuid.UUID) -> None:
    domain = context.session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True)
    domain.generate_keypair(id=key_id.bytes, label="stranger", store=True)


async def _findings(shop: Workshop) -> list[tuple[str, str, str]]:
    report = Report()
    check = TokenCheck(
        keys=shop.keys,
        quarantine=QuarantineStore(shop.database, origin="test", version="0"),
        token=shop.token,
        hsm_keys=shop.hsm_keys,
        cluster_id=shop.cluster_id,
    )
    await check.compare(report)
    # Other tests have left keys in the same token, which no row of this database owns.
    mine = [found for found in report.findings if "in quarantine" not in found.problem]
    return [(found.kind, found.object, found.problem) for found in mine]


def test_strangers_are_found_and_the_authority_issues_on(workshop: Opener) -> None:
    """In a process that has not used the key yet: it finds it, issues with it, and reports the strangers."""

    async def act() -> None:
        async with workshop() as shop:
            root = await shop.root()
            assert await _findings(shop) == []
            await shop.token.run(lambda context: _add_pair(context, root.key_id))
        async with workshop() as shop:
            issuer = await _load(shop, root)
            issued = await shop.issue(issuer, shop.owner("web"))
            assert issued.active
            found = await _findings(shop)
            assert [(kind, name) for kind, name, _ in found] == [("object-orphaned", "clm-ca-root")] * 2
            assert all("holds 2" in problem for _, _, problem in found)

    asyncio.run(act())


async def _load(shop: Workshop, root: Issuer) -> Issuer:
    assert root.certificate_id is not None
    found = await Authorities(token=shop.token, store=AuthorityStore(shop.database)).issuer(root.certificate_id)
    assert isinstance(found, Issuer)
    return found
