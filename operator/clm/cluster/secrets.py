"""The Secrets that CLM writes: created where there is none, patched where there is one of ours, else left alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.client import METADATA_ONLY
from clm.errors import AlreadyExists, NotFound, NotOurs, StaleObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from clm.cluster.client import ApiClient

CERTIFICATE_NAME = "clm-operator.io/certificate-name"
TEMPLATE_LABELS = "clm-operator.io/template-labels"
TEMPLATE_ANNOTATIONS = "clm-operator.io/template-annotations"
"""Which labels and annotations came from spec.secretTemplate, so that they can go with it."""
TLS = "kubernetes.io/tls"
OPAQUE = "Opaque"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretContent:
    """What a Secret of ours has to hold."""

    namespace: str
    name: str
    type: str
    data: Mapping[str, bytes]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def __repr__(self) -> str:
        """Name it without its content."""
        return f"SecretContent({self.namespace}/{self.name})"


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """Which state of which Secret: what status remembers of the last write."""

    uid: str
    resource_version: str


class SecretStore:
    """Reads and writes Secrets."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def publish(
        self,
        content: SecretContent,
        *,
        probably_new: bool,
        known: SecretVersion | None,
        is_current: Callable[[], Awaitable[bool]],
    ) -> SecretVersion:
        """Make the Secret hold exactly `content`; write nothing when it does.

        `probably_new` tries to create first: one request, and the only write that cannot hit somebody else's Secret.
        `known` is the Secret as last written: it stays ours when somebody takes our label from it. Where it is not as
        last written, somebody has edited it, or a newer process has written something newer: `is_current` is asked
        which, and only then. Raises NotOurs, StaleObject (try again), Refused, ClusterUnavailable.
        """
        if probably_new:
            try:
                return await self._create(content)
            except AlreadyExists:
                pass
        found = await self._client.get(paths.secret(content.namespace, content.name))
        if found is None:
            await _insist(content, is_current)
            return await self._create(content)
        uid = known.uid if known is not None else None
        if found["metadata"]["uid"] != uid and not is_ours(found, content.annotations[CERTIFICATE_NAME]):
            raise NotOurs(
                f"Secret {content.name} exists and does not belong to this Certificate; "
                "delete it, or choose another spec.secretName"
            )
        if found.get("type") != content.type:
            raise NotOurs(
                f"Secret {content.name} has type {found.get('type')}, which cannot be changed to {content.type};"
                " delete it"
            )
        patch = difference(found, content)
        if patch is None:
            return _version(found)
        if _version(found) != known:
            # After the read: what is recorded later than the answer is written later, and one of the two writes fails.
            await _insist(content, is_current)
        patch["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        path = paths.secret(content.namespace, content.name)
        try:
            return _version(await self._client.merge_patch(path, patch, accept=METADATA_ONLY))
        except NotFound as error:
            raise StaleObject(f"Secret {content.name} was deleted meanwhile") from error

    async def _create(self, content: SecretContent) -> SecretVersion:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": content.type,
            "metadata": {
                "name": content.name,
                "labels": dict(content.labels),
                "annotations": dict(content.annotations),
            },
            "data": _encoded(content.data),
        }
        path = paths.secrets(content.namespace)
        answer = await self._client.request("POST", path, body=body, accept=METADATA_ONLY)
        return _version(answer)


async def _insist(content: SecretContent, is_current: Callable[[], Awaitable[bool]]) -> None:
    if not await is_current():
        raise StaleObject(f"Secret {content.name}: the certificate that was to be written there was replaced meanwhile")


def is_ours(secret: Mapping[str, Any], certificate_name: str) -> bool:
    """Tell whether CLM wrote this Secret for the Certificate of that name."""
    metadata = secret["metadata"]
    return (metadata.get("labels") or {}).get(paths.MANAGED_LABEL) == "true" and (
        metadata.get("annotations") or {}
    ).get(CERTIFICATE_NAME) == certificate_name


def difference(found: Mapping[str, Any], content: SecretContent) -> dict[str, Any] | None:
    """Merge patch that turns `found` into `content`, None when nothing is to do.

    Data is ours alone: foreign keys are dropped. Labels and annotations of others stay; ours that are no longer
    wanted go, those of a former secretTemplate too.
    """
    data = _changes(found.get("data") or {}, _encoded(content.data), drop=lambda _: True)
    metadata = found["metadata"]
    standing = metadata.get("annotations") or {}
    annotations = _changes(standing, content.annotations, drop=_wrote(standing.get(TEMPLATE_ANNOTATIONS)))
    labels = _changes(metadata.get("labels") or {}, content.labels, drop=_wrote(standing.get(TEMPLATE_LABELS)))
    if not (data or annotations or labels):
        return None
    return {"metadata": {"labels": labels, "annotations": annotations}, "data": data}


def _changes(
    found: Mapping[str, str], wanted: Mapping[str, str], *, drop: Callable[[str], bool]
) -> dict[str, str | None]:
    changes: dict[str, str | None] = {key: value for key, value in wanted.items() if found.get(key) != value}
    changes |= {key: None for key in found if key not in wanted and drop(key)}
    return changes


def _wrote(template: str | None) -> Callable[[str], bool]:
    from_template = set((template or "").split(","))
    return lambda key: key.startswith("clm-operator.io/") or key in from_template


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode("ascii") for key, value in data.items()}


def _version(answer: Mapping[str, Any]) -> SecretVersion:
    return SecretVersion(answer["metadata"]["uid"], answer["metadata"]["resourceVersion"])
