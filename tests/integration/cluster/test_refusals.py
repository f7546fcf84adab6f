"""What the API server means by 403: a right that is missing, admission that is not ready yet, or a refusal."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from clm.cluster import paths
from clm.errors import ClmError, ClusterUnavailable, Forbidden, Refused

if TYPE_CHECKING:
    from clm.cluster.client import ApiClient
    from tests.integration.cluster.conftest import Clients

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_DEADLINE_S = 30.0


def _object(kind: str, name: str, version: str = "v1", **more: object) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


async def _refusal(client: ApiClient, namespace: str, wanted: type[ClmError]) -> str:
    """Create Secrets until one is refused in the wanted way: what admission decides by is watched, and comes late."""
    deadline = time.monotonic() + _DEADLINE_S
    last: ClmError | None = None
    while time.monotonic() < deadline:
        try:
            await client.create(paths.secrets(namespace), _object("Secret", f"refused-{time.monotonic_ns()}"))
        except ClmError as error:
            if type(error) is wanted:
                return str(error)
            last = error
        await asyncio.sleep(0.05)
    pytest.fail(f"last: {last!r}")


def test_a_missing_right(clients: Clients) -> None:
    """It may be given later, or be there already where the server has not loaded its roles: worth another try."""

    async def act(client: ApiClient) -> None:
        with pytest.raises(Forbidden, match='cannot create resource "pods"'):
            await client.create("/api/v1/namespaces/default/pods", _object("Pod", "refused"))

    clients.run(act, controller=True)


def test_a_quota(clients: Clients) -> None:
    """Until it has been counted it says nothing; then it refuses, and its message says why."""

    async def act(client: ApiClient) -> None:
        await client.create(paths.NAMESPACES, _object("Namespace", "refusal-quota"))
        quotas = "/api/v1/namespaces/refusal-quota/resourcequotas"
        hard = {"hard": {"secrets": "0"}}
        await client.create(quotas, _object("ResourceQuota", "none", spec=hard))
        # The counting controller does not run here: its word is given for it.
        await client.merge_patch(f"{quotas}/none/status", {"status": hard})
        assert "status unknown for quota" in await _refusal(client, "refusal-quota", ClusterUnavailable)
        await client.merge_patch(f"{quotas}/none/status", {"status": {**hard, "used": {"secrets": "0"}}})
        assert "exceeded quota: none" in await _refusal(client, "refusal-quota", Refused)

    clients.run(act)


def test_an_admission_policy(clients: Clients) -> None:
    """Its own words arrive."""
    policy, binding = f"{_ADMISSION}/validatingadmissionpolicies", f"{_ADMISSION}/validatingadmissionpolicybindings"
    version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "ask the platform team", "reason": "Forbidden"}],
    }
    selected = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "refusal-policy"}}}
    bound = {"policyName": "no-secrets", "validationActions": ["Deny"], "matchResources": selected}

    async def act(client: ApiClient) -> None:
        await client.create(paths.NAMESPACES, _object("Namespace", "refusal-policy"))
        await client.create(policy, _object("ValidatingAdmissionPolicy", "no-secrets", version, spec=spec))
        await client.create(binding, _object("ValidatingAdmissionPolicyBinding", "no-secrets", version, spec=bound))
        try:
            assert "ask the platform team" in await _refusal(client, "refusal-policy", Refused)
        finally:
            await client.request("DELETE", f"{binding}/no-secrets")
            await client.request("DELETE", f"{policy}/no-secrets")

    clients.run(act)
