"""What lastingly refuses or is away is told in the status, and forgotten there once it is mended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.api import Manifest
    from tests.e2e.world import World

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/clm-controller"
_MERGE = "application/merge-patch+json"


@contextmanager
def _stored(world: World, plural: str, kind: str, name: str, **content: Any) -> Iterator[None]:
    """Have an object of the admission's group for a while."""
    made = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, **content}
    world.api.request("POST", f"{_ADMISSION}/{plural}", made)
    try:
        yield
    finally:
        world.api.request("DELETE", f"{_ADMISSION}/{plural}/{name}")


def _secrets_of(namespace: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
    }


def _await_refusal(world: World, namespace: str) -> None:
    """Wait until the API server has learned to refuse Secrets there."""
    path = f"/api/v1/namespaces/{namespace}/secrets?dryRun=All"

    def look() -> bool | None:
        secret: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
        return True if world.api.text("POST", path, secret)[0] >= 400 else None

    wait(look, "Secrets to be refused")


def test_a_refused_secret(world: World, namespace: str) -> None:
    """An admission policy that forbids the Secret is quoted; the certificate that was issued comes in afterwards."""
    matched = _secrets_of(namespace)
    spec = {
        "matchConstraints": {"resourceRules": matched["rules"]},
        "validations": [{"expression": "false", "message": "ask the platform team", "reason": "Forbidden"}],
    }
    bound = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": matched["namespaceSelector"]},
    }
    with (
        _stored(world, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespace, spec=spec),
        _stored(world, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespace, spec=bound),
    ):
        _await_refusal(world, namespace)
        made = world.apply(certificate(namespace, "web"))
        message = world.wait_refused(namespace, "web", "SecretRefused")["message"]
        assert "web-tls" in message
        assert "ask the platform team" in message
        assert world.condition(namespace, "web", "Stalled") is not None
    world.wait_ready(namespace, "web")
    assert world.condition(namespace, "web", "Stalled") is None
    assert len(world.recorded(made)) == 1


def test_a_dependency_that_stays_away(world: World, namespace: str) -> None:
    """A webhook that must be asked and does not answer is an outage: waited out, and told when it lasts."""
    hook = {
        "name": "away.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        **_secrets_of(namespace),
    }
    with _stored(
        world, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespace, webhooks=[hook]
    ):
        _await_refusal(world, namespace)
        made = world.apply(certificate(namespace, "web"))
        message = world.wait_refused(namespace, "web", "DependencyUnavailable")["message"]
        assert "away.example.com" in message
        assert world.condition(namespace, "web", "Reconciling") is not None
    world.wait_ready(namespace, "web", timeout_s=60)
    assert world.condition(namespace, "web", "Reconciling") is None
    assert len(world.recorded(made)) == 1


def test_a_right_that_is_missing(world: World, namespace: str) -> None:
    """What the API server does not let the operator do is told with the right to grant."""
    role = world.api.request("GET", _ROLE)
    without = [rule for rule in role["rules"] if "secrets" not in rule["resources"]]
    readable = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}
    with world.without_rights():
        world.api.request("PATCH", _ROLE, {"rules": [*without, readable]}, content_type=_MERGE)
        try:
            world.apply(certificate(namespace, "web"))
            message = world.wait_refused(namespace, "web", "Forbidden", timeout_s=60)["message"]
            assert 'cannot create resource "secrets"' in message
            assert "grant the controller this right" in message
        finally:
            world.api.request("PATCH", _ROLE, {"rules": role["rules"]}, content_type=_MERGE)
        world.wait_ready(namespace, "web", timeout_s=60)
