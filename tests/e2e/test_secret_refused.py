"""A Secret that the API server will not take: said once, and not tried for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.api import ApiError
from tests.e2e.manifests import certificate
from tests.e2e.world import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import World

_RULES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@pytest.fixture
def no_red_secrets(world: World, namespace: str) -> Iterator[None]:
    """The API server refuses, as invalid, Secrets of this namespace that are labelled red."""
    rule = {
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["secrets"],
                    }
                ],
            },
            "validations": [
                {
                    "expression": "!has(object.metadata.labels) || !('colour' in object.metadata.labels)"
                    " || object.metadata.labels['colour'] != 'red'",
                    "message": "no red Secrets here",
                    "reason": "Invalid",
                }
            ],
        },
    }
    world.api.request("POST", _RULES, rule)
    binding = {"metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"]}}
    world.api.request("POST", _BINDINGS, binding)

    def refuses() -> bool | None:
        path = f"/api/v1/namespaces/{namespace}/secrets?dryRun=All"
        try:
            world.api.request("POST", path, {"metadata": {"name": "red", "labels": {"colour": "red"}}})
        except ApiError as error:
            return True if error.status == 422 else None
        return None

    wait(refuses, "the API server to go by the rule")
    yield
    for path in (_BINDINGS, _RULES):
        world.api.request("DELETE", f"{path}/{namespace}")


@pytest.mark.usefixtures("no_red_secrets")
def test_secret_that_is_refused_for_good(world: World, namespace: str) -> None:
    """The condition says what the API server says, and that somebody has to change something; nothing is retried.

    What was issued stays issued: once the template is changed, the same certificate is published.
    """
    made = world.apply(certificate(namespace, "web", secretTemplate={"labels": {"colour": "red"}}))
    ready = world.wait_refused(namespace, "web", "SecretRefused")
    assert "spec.secretName or spec.secretTemplate" in ready["message"]
    assert "no red Secrets here" in ready["message"]
    assert (world.condition(namespace, "web", "Stalled") or {})["status"] == "True"
    assert world.condition(namespace, "web", "Reconciling") is None
    (row,) = world.settled(made)

    def unpublished() -> int:
        count = world.query("secure", "SELECT count(*) AS n FROM clm_work.outbox WHERE id = %(id)s", id=row["id"])
        return int(count[0]["n"])

    wait(lambda: True if unpublished() == 0 else None, "the relay to have nothing left to try")
    tried = [line for line in world.log.splitlines() if f"{namespace}/web: tried again" in line]
    assert [line for line in tried if "no red Secrets here" in line] == []

    world.apply(certificate(namespace, "web", secretTemplate={"labels": {"colour": "green"}}))
    body = world.wait_ready(namespace, "web")
    assert body["status"]["serialNumber"].replace(":", "") == row["serial"]
    assert world.condition(namespace, "web", "Stalled") is None
    assert len(world.recorded(body)) == 1


def test_largest_template_beside_the_most_names(world: World, namespace: str) -> None:
    """What spec.secretTemplate may hold fits beside CLM's own annotations, however much the certificate names."""
    annotations = {f"a{number}": "x" * 8176 for number in range(16)}
    uris = [f"https://example.com/{number}/{'x' * 2000}" for number in range(100)]
    names = [f"{number}.{'.'.join(['x' * 60] * 3)}.example" for number in range(250)]
    world.apply(certificate(namespace, "web", secretTemplate={"annotations": annotations}, uris=uris, dnsNames=names))
    world.wait_ready(namespace, "web")
    secret = world.api.get("Secret", namespace, "web-tls") or {}
    assert annotations.items() <= secret["metadata"]["annotations"].items()
    assert "clm-operator.io/uri-sans" not in secret["metadata"]["annotations"], "half of it would be taken for all"
