"""The API server as these tests use it: objects are tried by dry run, and what it refuses is told by field."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml
from kubernetes import client, config

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ROOT = Path(__file__).parents[3]
API = "/apis/clm-operator.io/v1alpha1"
PLURALS = {"Certificate": "certificates", "Policy": "policies", "KeyRotation": "keyrotations"}
DRY_RUN = {"dryRun": "All", "fieldValidation": "Strict"}
APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"

Manifest = dict[str, Any]


class _ControlPlane(Protocol):
    kubeconfig: Path


class Cluster:
    """One API server with the three CRDs. Every method raises ApiException when it refuses."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the kubeconfig; nothing is asked yet."""
        self._client = config.new_client_from_config(config_file=str(kubeconfig))  # type: ignore[no-untyped-call]

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, str] | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send a request and read the JSON that comes back."""
        call = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*call)
        data = response.read()
        if not 200 <= response.status < 300:
            raise client.ApiException(status=response.status, reason=data.decode())
        return dict(json.loads(data))

    def try_create(self, manifest: Manifest) -> dict[str, str]:
        """Create an object by dry run; return the fields that are refused, each with what is said of it."""
        return _refused(lambda: self.request("POST", path_of(manifest), manifest, query=DRY_RUN))

    def try_apply(self, manifest: Manifest) -> dict[str, str]:
        """Apply an object, which may be there, by dry run; return the fields that are refused."""
        path = f"{path_of(manifest)}/{manifest['metadata']['name']}"
        query = {**DRY_RUN, "fieldManager": "test", "force": "true"}
        return _refused(lambda: self.request("PATCH", path, manifest, query=query, content_type=APPLY))

    def try_update(self, manifest: Manifest, spec: Manifest) -> dict[str, str]:
        """Replace the spec of a stored object by dry run; return the fields that are refused."""
        changed = {**manifest, "spec": spec}
        path = f"{path_of(manifest)}/{manifest['metadata']['name']}"
        return _refused(lambda: self.request("PUT", path, changed, query=DRY_RUN))

    def try_status(self, manifest: Manifest, status: Manifest) -> Manifest:
        """Merge a status into that of a stored object by dry run; return the status that it would have."""
        path = f"{path_of(manifest)}/{manifest['metadata']['name']}/status"
        answer = self.request("PATCH", path, {"status": status}, query=DRY_RUN, content_type=MERGE_PATCH)
        return dict(answer["status"])

    @contextlib.contextmanager
    def stored(self, manifest: Manifest) -> Generator[Manifest, None, None]:
        """Have an object in the cluster for a while."""
        created = self.request("POST", path_of(manifest), manifest)
        try:
            yield created
        finally:
            self.request("DELETE", f"{path_of(manifest)}/{manifest['metadata']['name']}")


def _refused(send: Callable[[], object]) -> dict[str, str]:
    try:
        send()
    except client.ApiException as error:
        answer = json.loads(error.reason)
        assert answer["reason"] == "Invalid", answer["message"]
        causes: dict[str, str] = {}
        for cause in answer["details"]["causes"]:
            causes[cause["field"]] = f"{causes.get(cause['field'], '')}{cause['message']}; "
        causes.pop("<nil>", None)  # "some validation rules were not checked because the object was invalid"
        return causes
    return {}


def path_of(manifest: Manifest) -> str:
    """Path of the collection that an object belongs to."""
    if manifest["kind"] != "Certificate":
        return f"{API}/{PLURALS[manifest['kind']]}"
    return f"{API}/namespaces/{manifest['metadata'].get('namespace', 'default')}/certificates"


class Manifests:
    """Makes manifests, and reads those that are shipped."""

    root = ROOT

    def make(self, kind: str, spec: Manifest, name: str = "under-test") -> Manifest:
        """Make an object around a spec."""
        version = "clm-operator.io/v1alpha1"
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}

    def load(self, path: str) -> list[Manifest]:
        """Read every object of a file of the repository."""
        return list(yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def cluster(control_plane: _ControlPlane) -> Cluster:
    """Give the API server that the CRDs were applied to."""
    return Cluster(control_plane.kubeconfig)


@pytest.fixture(scope="session")
def manifests() -> Manifests:
    """Give the maker of manifests."""
    return Manifests()
