"""The controller's rights are those that it needs, and no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

if TYPE_CHECKING:
    from tests.integration.crds.conftest import Cluster, Manifests

USER, PUBLISHER = "test-clm-controller", "test-clm-publisher"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
NAMESPACE = "clm-system"
TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def bound(cluster: Cluster, manifests: Manifests) -> None:
    """Give a user the controller's role, another one that for trust bundles, and wait until the API server knows.

    It learns of roles by a watch of its own. Roles only ever grant: with one right of it the whole role is known.
    """
    post(cluster, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for user, file, group, resource in (
        (USER, "rbac", "clm-operator.io", "certificates"),
        (PUBLISHER, "rbac-trust", "", "configmaps"),
    ):
        (cluster_role,) = manifests.load(f"config/{file}.yaml")
        post(cluster, f"{RBAC}/clusterroles", cluster_role)
        subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
        reference = {"kind": "ClusterRole", "name": cluster_role["metadata"]["name"]}
        reference["apiGroup"] = "rbac.authorization.k8s.io"
        body = {"metadata": {"name": user}, "subjects": subjects, "roleRef": reference}
        post(cluster, f"{RBAC}/clusterrolebindings", body)
        deadline = time.monotonic() + TIMEOUT_S
        while not is_allowed(cluster, "watch", group, resource, user=user):
            assert time.monotonic() < deadline, "the API server does not learn of the role"
            time.sleep(0.05)


def post(cluster: Cluster, path: str, body: dict[str, Any]) -> None:
    """Create an object unless it is there."""
    try:
        cluster.request("POST", path, body)
    except ApiException as error:
        assert '"AlreadyExists"' in error.reason  # noqa: PT017 - the cluster is shared by tests


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(
    ("verb", "group", "resource", "allowed"),
    [
        ("watch", "clm-operator.io", "certificates", True),
        ("patch", "clm-operator.io", "certificates/status", True),
        ("patch", "clm-operator.io", "policies/status", True),
        ("patch", "clm-operator.io", "certificates", True),
        ("update", "clm-operator.io", "certificates", False),
        ("patch", "clm-operator.io", "policies", False),
        ("delete", "clm-operator.io", "certificates", False),
        ("create", "", "secrets", True),
        ("patch", "", "secrets", True),
        ("update", "", "secrets", False),
        ("delete", "", "secrets", True),
        ("deletecollection", "", "secrets", False),
        ("list", "", "namespaces", True),
        ("create", "events.k8s.io", "events", True),
        ("create", "coordination.k8s.io", "leases", False),
        ("get", "", "configmaps", False),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles", False),
    ],
)
def test_rights(cluster: Cluster, verb: str, group: str, resource: str, *, allowed: bool) -> None:
    """The API server's own answer, in the controller's namespace."""
    assert is_allowed(cluster, verb, group, resource) is allowed


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        *((verb, "configmaps", True) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        ("update", "configmaps", False),
        ("deletecollection", "configmaps", False),
        ("get", "secrets", False),
    ],
)
def test_rights_for_trust_bundles(cluster: Cluster, verb: str, resource: str, *, allowed: bool) -> None:
    """The role that an installation without trust bundles leaves out: ConfigMaps, and nothing else."""
    assert is_allowed(cluster, verb, "", resource, user=PUBLISHER) is allowed


def is_allowed(cluster: Cluster, verb: str, group: str, resource: str, *, user: str = USER) -> bool:
    """Ask the API server whether the user may do that."""
    name, _, subresource = resource.partition("/")
    attributes = {"namespace": NAMESPACE, "verb": verb, "group": group, "resource": name}
    review = {"spec": {"user": user, "resourceAttributes": {**attributes, "subresource": subresource}}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(cluster.request("POST", path, review)["status"]["allowed"])
