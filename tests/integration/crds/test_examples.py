"""The examples are accepted as they are, and ask for nothing that this version does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes.client import ApiException

from clm.pki.csr import requested
from clm.pki.known_keys import PublishedKeys
from clm.policy.evaluate import Request, evaluate
from clm.resources.certificate import parse_certificate
from clm.resources.policy import CaIssuer, parse_policy

if TYPE_CHECKING:
    from tests.integration.crds.conftest import Cluster, Manifests

FILES = ["examples/10-policies.yaml", "examples/20-authorities.yaml", "examples/30-certificates.yaml"]


@pytest.fixture(scope="module")
def namespaces(cluster: Cluster, manifests: Manifests) -> None:
    """Have the namespaces of the examples."""
    for namespace in manifests.load("examples/00-namespaces.yaml"):
        try:
            cluster.request("POST", "/api/v1/namespaces", namespace)
        except ApiException as error:
            assert '"AlreadyExists"' in error.reason  # noqa: PT017 - the cluster is shared by tests


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("path", FILES)
def test_is_accepted(cluster: Cluster, manifests: Manifests, path: str) -> None:
    """Strictly: an unknown or doubled field is refused too."""
    found = manifests.load(path)
    assert found
    for manifest in found:
        assert cluster.try_apply(manifest) == {}, manifest["metadata"]["name"]


def test_every_field_is_enforced(manifests: Manifests) -> None:
    """None of them would end in NotSupported."""
    for path in FILES:
        for manifest in manifests.load(path):
            parse = parse_policy if manifest["kind"] == "Policy" else parse_certificate
            assert parse(manifest["spec"]).unsupported == (), manifest["metadata"]["name"]


def test_references_lead_somewhere(manifests: Manifests) -> None:
    """Every policyRef names a Policy of the examples, every issuer a CA among them."""
    policies, authorities, leaves = (manifests.load(path) for path in FILES)
    issuers = [parse_policy(policy["spec"]).issuer for policy in policies]
    cas = {(ca["metadata"]["namespace"], ca["metadata"]["name"]) for ca in authorities if ca["spec"]["isCA"]}
    assert {(issuer.namespace, issuer.name) for issuer in issuers if isinstance(issuer, CaIssuer)} == cas
    names = {policy["metadata"]["name"] for policy in policies}
    assert {item["spec"]["policyRef"]["name"] for item in (*authorities, *leaves)} == names


def test_certificates_pass_their_policies(manifests: Manifests) -> None:
    """In their namespaces, with the labels that these have."""
    policies = {item["metadata"]["name"]: parse_policy(item["spec"]) for item in manifests.load(FILES[0])}
    labels = {
        item["metadata"]["name"]: item["metadata"].get("labels", {})
        for item in manifests.load("examples/00-namespaces.yaml")
    }
    for manifest in (*manifests.load(FILES[1]), *manifests.load(FILES[2])):
        spec = requested(parse_certificate(manifest["spec"]), PublishedKeys())
        namespace = manifest["metadata"]["namespace"]
        request = Request(spec=spec, namespace=namespace, namespace_labels=labels[namespace])
        assert evaluate(request, policies[spec.policy]).violations == (), manifest["metadata"]["name"]
