"""How the three kinds present themselves: established, listed, selected, with a status of their own."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from clm.resources.certificate import parse_status
from clm.resources.conditions import set_condition

if TYPE_CHECKING:
    from tests.integration.crds.conftest import Cluster, Manifests

LEAF: dict[str, Any] = {"policyRef": {"name": "internal"}, "secretName": "web-tls", "dnsNames": ["web.shop.svc"]}
KINDS = ["certificates", "policies", "keyrotations"]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize("plural", KINDS)
def test_is_established(cluster: Cluster, plural: str) -> None:
    """The API server serves it, and finds nothing to object to in its schema."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.clm-operator.io"
    conditions = cluster.request("GET", path)["status"]["conditions"]
    states = {condition["type"]: condition["status"] for condition in conditions}
    assert states["Established"] == "True"
    assert states["NamesAccepted"] == "True"
    assert states.get("NonStructuralSchema", "False") == "False"
    assert states.get("KubernetesAPIApprovalPolicyConformant", "True") == "True"


def test_is_found_by_short_name_and_category(cluster: Cluster) -> None:
    """`kubectl get clm` lists all three; short names do not collide with cert-manager's."""
    resources = cluster.request("GET", "/apis/clm-operator.io/v1alpha1")["resources"]
    kinds = {item["name"]: item for item in resources if "/" not in item["name"]}
    assert {name: item["shortNames"] for name, item in kinds.items()} == {
        "certificates": ["clmcert"],
        "policies": ["clmpol"],
        "keyrotations": ["clmrot"],
    }
    assert all(item["categories"] == ["clm"] for item in kinds.values())
    assert {name: item["namespaced"] for name, item in kinds.items()} == {
        "certificates": True,
        "policies": False,
        "keyrotations": False,
    }
    assert {item["name"] for item in resources} >= {f"{plural}/status" for plural in KINDS}


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("namespaces/default/certificates", "Name Ready Secret Policy Revoked Status Expiration Age Serial"),
        ("policies", "Name Ready Issuer Age"),
        ("keyrotations", "Name Phase Done Ready Age"),
    ],
)
def test_columns(cluster: Cluster, path: str, columns: str) -> None:
    """What `kubectl get` shows."""
    table = cluster.request("GET", f"/apis/clm-operator.io/v1alpha1/{path}", accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == columns.split()


def test_is_selected_by_policy_and_secret(cluster: Cluster, manifests: Manifests) -> None:
    """Field selectors on the server find what refers to a Policy or a Secret."""
    tag = uuid.uuid4().hex[:8]
    spec = {**LEAF, "policyRef": {"name": f"policy-{tag}"}, "secretName": f"secret-{tag}"}
    with cluster.stored(manifests.make("Certificate", spec, f"selected-{tag}")):
        for selector in (f"spec.policyRef.name=policy-{tag}", f"spec.secretName=secret-{tag}"):
            path = "/apis/clm-operator.io/v1alpha1/certificates"
            found = cluster.request("GET", path, query={"fieldSelector": selector})["items"]
            assert [item["metadata"]["name"] for item in found] == [f"selected-{tag}"]


def test_the_schema_changes_no_spec(cluster: Cluster, manifests: Manifests) -> None:
    """There are no defaults in it: what GitOps tools applied is what stands there."""
    with cluster.stored(manifests.make("Certificate", LEAF, f"plain-{uuid.uuid4().hex[:8]}")) as stored:
        assert stored["spec"] == LEAF


def test_status_is_kept_whole(cluster: Cluster, manifests: Manifests) -> None:
    """Every value of a status passes the schema, none is dropped, and it is read back typed."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    condition = {"reason": "Ready", "message": "m", "observed_generation": 1, "now": now}
    moment = "2026-06-01T00:00:00Z"
    status = {
        "observedGeneration": 1,
        "conditions": set_condition([], type="Ready", status="True", **condition),  # type: ignore[arg-type]
        "serialNumber": (bytes(range(20))).hex(":"),
        "fingerprint": bytes(32).hex(":"),
        **dict.fromkeys(("notBefore", "notAfter", "renewalTime", "lastFailureTime", "nextAttemptTime"), moment),
        "revision": 1,
        "certificateId": str(uuid.UUID(int=1)),
        "issuer": {"name": "clm-system/issuing-ca", "certificateId": str(uuid.UUID(int=2))},
        "requestedBy": {"username": "alice", "groups": ["shop"], "uid": "7"},
        "approvals": [
            {
                "approver": name,
                "decision": "Approved",
                "time": moment,
                "comment": "",
                "generation": 1,
                "policyGeneration": 1,
            }
            for name in ("bob", "carol")
        ],
        "secret": {"uid": "u", "resourceVersion": "17"},
        "failedIssuanceAttempts": 0,
    }
    with cluster.stored(manifests.make("Certificate", LEAF, f"status-{uuid.uuid4().hex[:8]}")) as stored:
        written = cluster.try_status(stored, status)
    assert written == status
    read = parse_status(written)
    assert (read.ready, read.certificate_id, read.renewal_time) == (True, uuid.UUID(int=1), now)
