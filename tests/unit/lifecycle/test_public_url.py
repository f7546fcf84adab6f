"""A CA that is to publish needs an address to write into certificates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from clm.lifecycle.admission import Admission
from clm.lifecycle.status import Refusal
from clm.lifecycle.view import ClusterView, Key
from clm.pki.known_keys import PublishedKeys

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient
    from clm.lifecycle.authorities import Authorities

CA: dict[str, Any] = {"policyRef": {"name": "root"}, "secretName": "ca", "commonName": "Root", "isCA": True}


def test_a_ca_that_publishes_needs_a_public_url() -> None:
    """Nothing is looked up, nothing issued: the setting is named that is missing."""
    admission = Admission(
        view=ClusterView(),
        authorities=cast("Authorities", None),
        client=cast("ApiClient", None),
        known_keys=PublishedKeys(),
        public_url=None,
    )
    refusal = asyncio.run(admission.admit(Key("n", "ca"), {"spec": {**CA, "authority": {"crl": {}}}}))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "NoPublicUrl"
    assert "CLM_PUBLIC_URL" in refusal.message
