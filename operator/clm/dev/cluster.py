"""What a cluster has before the operator runs in it: definitions, namespace, roles and bindings.

Server-side apply, so that a second time changes nothing and a newer version changes what is newer.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from clm.cluster.session import load_credentials, open_session
from clm.dev.files import shipped_folder
from clm.dev.identities import CONTROLLER_GROUP
from clm.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_COLLECTIONS = {
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Namespace": "/api/v1/namespaces",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}
_RBAC_GROUP = "rbac.authorization.k8s.io"
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_MANAGER = {"fieldManager": "clm-dev", "force": "true"}
_SYSTEM_NAMESPACE = "/api/v1/namespaces/kube-system"
_SYSTEM_NAMESPACE_TIMEOUT_S = 30.0
_ESTABLISHED_TIMEOUT_S = 30.0
_POLL_S = 0.1

Manifest = dict[str, Any]


def definitions() -> list[Manifest]:
    """Read the three CustomResourceDefinitions."""
    return _documents(sorted(shipped_folder("crds").glob("*.yaml")))


def rights() -> list[Manifest]:
    """Read the controller's roles, bind each to the group that its certificate names; and what holds it to them."""
    roles = _documents(sorted(shipped_folder("config").glob("rbac*.yaml")))
    bindings = (_binding(role) for role in roles if role["kind"] in {"ClusterRole", "Role"})
    return [*roles, *bindings, *_documents([shipped_folder("config") / "admission.yaml"])]


def namespace(name: str) -> Manifest:
    """Make the manifest of a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def apply(kubeconfig: Path, manifests: Sequence[Manifest]) -> None:
    """Apply manifests in their order and wait until every definition among them is served.

    Blocking. Raises StartFailed with what the API server says.
    """
    asyncio.run(_apply(kubeconfig, manifests))


def identify(kubeconfig: Path) -> uuid.UUID:
    """Give what tells one cluster from every other: the uid of its namespace kube-system.

    A new API server makes that namespace a moment after it is ready. Blocking. Raises StartFailed.
    """
    return asyncio.run(_identify(kubeconfig))


async def _identify(kubeconfig: Path) -> uuid.UUID:
    deadline = time.monotonic() + _SYSTEM_NAMESPACE_TIMEOUT_S
    try:
        credentials = await load_credentials(str(kubeconfig))
        async with open_session(credentials, connections=1) as session:
            while True:
                async with session.get(f"{credentials.server}{_SYSTEM_NAMESPACE}") as response:
                    if response.ok:
                        return uuid.UUID((await response.json())["metadata"]["uid"])
                    if response.status != HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                        said = _message(await response.text())
                        raise StartFailed(f"the namespace kube-system cannot be read ({response.status}): {said}")
                await asyncio.sleep(_POLL_S)
    except (aiohttp.ClientError, OSError) as error:
        raise StartFailed(f"the API server does not answer: {error}") from None


async def _apply(kubeconfig: Path, manifests: Sequence[Manifest]) -> None:
    try:
        credentials = await load_credentials(str(kubeconfig))
        async with open_session(credentials, connections=4) as session:
            for manifest in manifests:
                url = f"{credentials.server}{_path(manifest)}"
                async with session.patch(url, params=_MANAGER, data=json.dumps(manifest), headers=_APPLY) as response:
                    await _check(response, manifest)
            for manifest in manifests:
                if manifest["kind"] == "CustomResourceDefinition":
                    await _await_established(session, f"{credentials.server}{_path(manifest)}")
    except (aiohttp.ClientError, OSError) as error:
        raise StartFailed(f"the API server does not answer: {error}") from None


async def _check(response: aiohttp.ClientResponse, manifest: Manifest) -> None:
    if not response.ok:
        answer = await response.text()
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        raise StartFailed(f"{name} is refused ({response.status}): {_message(answer)}")


async def _await_established(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + _ESTABLISHED_TIMEOUT_S
    while time.monotonic() < deadline:
        async with session.get(url) as response:
            body = await response.json()
        conditions = {item["type"]: item for item in body.get("status", {}).get("conditions") or ()}
        if conditions.get("Established", {}).get("status") == "True":
            return
        await asyncio.sleep(_POLL_S)
    raise StartFailed(f"{url.rpartition('/')[2]} is not established")


def _path(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    collection = _COLLECTIONS[manifest["kind"]].format(namespace=metadata.get("namespace", ""))
    return f"{collection}/{metadata['name']}"


def _message(answer: str) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer[:300]


def _binding(role: Manifest) -> Manifest:
    metadata = {key: role["metadata"][key] for key in ("name", "namespace") if key in role["metadata"]}
    return {
        "apiVersion": f"{_RBAC_GROUP}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC_GROUP, "kind": role["kind"], "name": metadata["name"]},
        "subjects": [{"apiGroup": _RBAC_GROUP, "kind": "Group", "name": CONTROLLER_GROUP}],
    }


def _documents(files: Iterable[Path]) -> list[Manifest]:
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [document for text in texts for document in yaml.safe_load_all(text) if document is not None]
