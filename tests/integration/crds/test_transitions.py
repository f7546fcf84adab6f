"""What may not change once it is there, and what may."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.crds.conftest import Cluster, Manifests

CA: dict[str, Any] = {
    "policyRef": {"name": "root"},
    "secretName": "ca",
    "commonName": "Root",
    "subject": {"organizations": ["Example"]},
    "isCA": True,
    "privateKey": {"algorithm": "ECDSA", "size": 384},
}
LEAF: dict[str, Any] = {"policyRef": {"name": "internal"}, "secretName": "web-tls", "dnsNames": ["web.shop.svc"]}


def unique(prefix: str) -> str:
    """Make a name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize(
    "change",
    [
        {"commonName": "Other"},
        {"commonName": None},
        {"subject": {"organizations": ["Other"]}},
        {"subject": None},
        {"privateKey": {"algorithm": "ECDSA", "size": 256}},
        {"privateKey": {"algorithm": "RSA", "size": 4096}},
        {"privateKey": None},
        {"privateKey": {"algorithm": "ECDSA", "size": 384, "storage": "Secret"}},
        {"isCA": False},
        {"request": "-----BEGIN CERTIFICATE REQUEST-----", "commonName": None, "subject": None, "privateKey": None},
    ],
)
def test_a_ca_in_the_hsm_keeps_its_identity(cluster: Cluster, manifests: Manifests, change: dict[str, Any]) -> None:
    """Its subject, and its key's algorithm, size and place are fixed: what it has signed depends on them."""
    with cluster.stored(manifests.make("Certificate", CA, unique("ca"))) as stored:
        refused = cluster.try_update(stored, {**CA, **change})
        assert list(refused) == ["spec"]
        assert "of a CA in the HSM are fixed" in refused["spec"]


@pytest.mark.parametrize(
    "change",
    [
        {"duration": "43800h"},
        {"maxPathLen": 1},
        {"secretName": "other"},
        {"privateKey": {"algorithm": "ECDSA", "size": 384, "storage": "HSM", "rotationPolicy": "Never"}},
        {"dnsNames": ["ca.example"]},
    ],
)
def test_a_ca_in_the_hsm_may_be_renewed_otherwise(
    cluster: Cluster, manifests: Manifests, change: dict[str, Any]
) -> None:
    """All else may change, also defaults that are written out."""
    with cluster.stored(manifests.make("Certificate", CA, unique("ca"))) as stored:
        assert cluster.try_update(stored, {**CA, **change}) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"commonName": "web"},
        {"privateKey": {"algorithm": "RSA"}},
        {"isCA": True, "commonName": "CA"},
        {"subject": {"organizations": ["A"]}},
    ],
)
def test_a_leaf_may_change(cluster: Cluster, manifests: Manifests, change: dict[str, Any]) -> None:
    """A leaf is simply issued again."""
    with cluster.stored(manifests.make("Certificate", LEAF, unique("leaf"))) as stored:
        assert cluster.try_update(stored, {**LEAF, **change}) == {}


@pytest.mark.parametrize(("old", "new"), [("shop", "other"), (None, "shop"), ("shop", None)])
def test_the_organization_of_a_policy_is_fixed(
    cluster: Cluster, manifests: Manifests, old: str | None, new: str | None
) -> None:
    """Certificates cannot move to another tenant, not even from or to the installation's."""
    issuer: dict[str, Any] = {"issuer": {"selfSigned": {}}}
    with cluster.stored(manifests.make("Policy", {**issuer, "organization": old}, unique("policy"))) as stored:
        assert list(cluster.try_update(stored, {**issuer, "organization": new})) == ["spec.organization"]
        assert cluster.try_update(stored, {**issuer, "organization": old, "enforcement": "Audit"}) == {}


def test_the_target_of_a_rotation_is_fixed(cluster: Cluster, manifests: Manifests) -> None:
    """Progress counts one target; a rotation may be suspended."""
    spec: dict[str, Any] = {"target": {"keyEncryptionKey": {}}}
    with cluster.stored(manifests.make("KeyRotation", spec, unique("rotation"))) as stored:
        assert list(cluster.try_update(stored, {"target": {"certificates": {"policies": ["a"]}}})) == ["spec.target"]
        assert cluster.try_update(stored, {**spec, "suspend": True}) == {}
