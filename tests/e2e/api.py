"""A client of the API server that shares no code with the operator, so that neither can hide the other's mistakes."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Manifest = dict[str, Any]

_TIMEOUT_S = 30.0
_GROUP = "/apis/clm-operator.io/v1alpha1"
_COLLECTIONS = {
    "Certificate": f"{_GROUP}/namespaces/{{namespace}}/certificates",
    "Policy": f"{_GROUP}/policies",
    "KeyRotation": f"{_GROUP}/keyrotations",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Namespace": "/api/v1/namespaces",
}
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_COUNTER = re.compile(r"apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class ApiError(Exception):
    """The API server refused a request; `fields` are those that it blames."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {answer.get('message', answer)}")
        self.status = status
        self.fields = tuple(cause.get("field", "") for cause in (answer.get("details") or {}).get("causes") or ())


class Api:
    """One connection to the API server, as the administrator unless it is said who. Not for several threads."""

    def __init__(self, server: str, identities: Path, *, name: str = "admin") -> None:
        """Take an identity out of the folder that the control plane keeps its identities in."""
        context = ssl.create_default_context(cafile=identities / "api-ca.crt")
        context.load_cert_chain(identities / f"{name}.crt", identities / f"{name}.key")
        address = urlsplit(server)
        self._connection = http.client.HTTPSConnection(
            str(address.hostname), address.port, timeout=_TIMEOUT_S, context=context
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def text(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> tuple[int, str]:
        """Send one request; tell the HTTP status and the body of the answer."""
        sent = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        try:
            self._connection.request(method, path, sent, headers)
            answer = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server ends connections that were quiet; nothing had reached it then.
            self._connection.close()
            self._connection.request(method, path, sent, headers)
            answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> Manifest:
        """Send one request; give the object in the answer. Raises ApiError."""
        status, text = self.text(method, path, body, content_type=content_type)
        answer: Manifest = json.loads(text)
        if not 200 <= status < 300:
            raise ApiError(status, answer)
        return answer

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return self.request("POST", _collection(manifest["kind"], manifest["metadata"].get("namespace")), manifest)

    def apply(self, manifest: Manifest) -> Manifest:
        """Create or change an object by server-side apply."""
        query = urlencode({"fieldManager": "e2e", "force": "true"})
        path = _path(manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        return self.request("PATCH", f"{path}?{query}", manifest, content_type="application/apply-patch+yaml")

    def get(self, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """Read an object; None when it does not exist."""
        try:
            return self.request("GET", _path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str) -> list[Manifest]:
        """List the objects at a path."""
        return list(self.request("GET", path)["items"])

    def patch(self, kind: str, namespace: str | None, name: str, patch: Manifest) -> Manifest:
        """Change an object by merge patch."""
        return self.request("PATCH", _path(kind, namespace, name), patch, content_type="application/merge-patch+json")

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete an object that exists."""
        self.request("DELETE", _path(kind, namespace, name))

    def delete_certificates(self, namespace: str) -> None:
        """Delete every Certificate of a namespace."""
        self.request("DELETE", _collection("Certificate", namespace))

    def writes(self) -> dict[str, int]:
        """Count the writes that the API server has answered, by its own counter: "POST secrets" and so on."""
        status, text = self.text("GET", "/metrics")
        assert status == 200, text
        counts: dict[str, int] = {}
        for line in _COUNTER.finditer(text):
            labels = dict(_LABEL.findall(line["labels"]))
            if labels["verb"] in _WRITES and not labels.get("dry_run"):
                what = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                refused = "" if labels["code"].startswith("2") else f" ({labels['code']})"
                key = f"{labels['verb']} {what}{refused}"
                counts[key] = counts.get(key, 0) + int(float(line["value"]))
        return counts


def _collection(kind: str, namespace: str | None) -> str:
    return _COLLECTIONS[kind].format(namespace=quote(namespace or "", safe=""))


def _path(kind: str, namespace: str | None, name: str) -> str:
    return f"{_collection(kind, namespace)}/{quote(name, safe='')}"
