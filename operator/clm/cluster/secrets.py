"""The Secrets that CLM writes: created where there is none, patched where there is one of ours, else left alone."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.client import METADATA_ONLY
from clm.errors import AlreadyExists, NotFound, NotOurs, Overtaken, StaleObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from clm.cluster.client import ApiClient

CERTIFICATE_NAME = "clm-operator.io/certificate-name"
TEMPLATE_LABELS = "clm-operator.io/template-labels"
TEMPLATE_ANNOTATIONS = "clm-operator.io/template-annotations"
"""Which labels and annotations came from spec.secretTemplate, so that they can go with it."""
TLS = "kubernetes.io/tls"
OPAQUE = "Opaque"
FIELD_MANAGER = "clm"
"""Who the API server says has written what CLM wrote: the name that requests carry as their user agent."""


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
    """Which state of which Secret: what status remembers of the last write.

    `certificate_name` is that of the Certificate that it was written for, where the Secret says so. `changed_by` tells,
    of a write that undid a change of others, whose it was; `untouched`: nothing had to be written.
    """

    uid: str
    resource_version: str
    certificate_name: str | None = field(default=None, compare=False)
    changed_by: str | None = field(default=None, compare=False)
    untouched: bool = field(default=False, compare=False)


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
        may_take: Callable[[str], Awaitable[bool]],
    ) -> SecretVersion:
        """Make the Secret hold exactly `content`; write nothing when it does.

        `probably_new` tries to create first: one request, and the only write that cannot hit somebody else's Secret.
        `known` is the Secret as last written: it stays ours when somebody takes our label from it. Where it is not as
        last written, somebody has edited it, or a newer process has written something newer: `is_current` is asked
        which, and only then. `may_take` is asked whether a Secret that CLM wrote for another Certificate, of that name,
        may be taken over from it. Raises NotOurs, StaleObject (Overtaken among it; try again), Refused, an Unavailable.
        """
        if probably_new:
            try:
                return await self._create(content)
            except AlreadyExists:
                pass
        found = await self._client.get(paths.secret(content.namespace, content.name))
        if found is None:
            await _insist(content, is_current)
            created = await self._create(content)
            return created if known is None else replace(created, changed_by="somebody who deleted it")
        await _claim(found, content, known, may_take)
        if found.get("type") != content.type:
            raise NotOurs(
                f"Secret {content.name} has type {found.get('type')}, which cannot be changed to {content.type};"
                " delete it"
            )
        patch = difference(found, content)
        if patch is None:
            return replace(version_of(found), untouched=True)
        edited = version_of(found) != known
        if edited:
            # After the read: what is recorded later than the answer is written later, and one of the two writes fails.
            await _insist(content, is_current)
        patch["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        path = paths.secret(content.namespace, content.name)
        try:
            version = version_of(await self._client.merge_patch(path, patch, accept=METADATA_ONLY))
        except (NotFound, StaleObject) as error:
            raise Overtaken(f"Secret {content.name} was changed meanwhile", last_writer(found)) from error
        return replace(version, changed_by=last_writer(found)) if edited and known is not None else version

    async def delete(self, namespace: str, name: str, *, certificate_name: str, known_uid: str | None) -> bool:
        """Delete a Secret if it is that Certificate's; anybody else's, and one that is gone, is left alone.

        `known_uid` is that of the Secret as last written: it stays ours when somebody takes our marks from it. Tells
        whether it was deleted. Raises StaleObject when it was changed meanwhile, Refused, ClusterUnavailable.
        """
        found = await self._client.get(paths.secret(namespace, name), accept=METADATA_ONLY)
        if found is None:
            return False
        metadata = found["metadata"]
        named = (metadata.get("annotations") or {}).get(CERTIFICATE_NAME)
        as_written = metadata["uid"] == known_uid and named in (None, certificate_name)
        if written_for(found) != certificate_name and not as_written:
            return False
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        with contextlib.suppress(NotFound):
            await self._client.request("DELETE", paths.secret(namespace, name), body=body)
            return True
        return False

    async def type_of(self, namespace: str, name: str) -> str | None:
        """Type of a Secret, whosever it is; None where there is none. Raises ClusterUnavailable."""
        found = await self._client.get(paths.secret(namespace, name))
        return None if found is None else str(found.get("type"))

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
        return version_of(answer)


async def _insist(content: SecretContent, is_current: Callable[[], Awaitable[bool]]) -> None:
    if not await is_current():
        raise StaleObject(f"Secret {content.name}: the certificate that was to be written there was replaced meanwhile")


async def _claim(
    found: Mapping[str, Any],
    content: SecretContent,
    known: SecretVersion | None,
    may_take: Callable[[str], Awaitable[bool]],
) -> None:
    if known is not None and found["metadata"]["uid"] == known.uid:
        return
    owner = written_for(found)
    if owner is None or (owner != content.annotations[CERTIFICATE_NAME] and not await may_take(owner)):
        raise NotOurs(
            f"Secret {content.name} exists and does not belong to this Certificate; "
            "delete it, or choose another spec.secretName"
        )


def written_for(secret: Mapping[str, Any]) -> str | None:
    """Name of the Certificate that CLM wrote this Secret for; None for a Secret that is not CLM's."""
    metadata = secret["metadata"]
    if (metadata.get("labels") or {}).get(paths.MANAGED_LABEL) != "true":
        return None
    return (metadata.get("annotations") or {}).get(CERTIFICATE_NAME)


def last_writer(found: Mapping[str, Any]) -> str:
    """Who, other than CLM, wrote an object last, as far as the API server has noted (metadata.managedFields)."""
    others = [entry for entry in found["metadata"].get("managedFields") or () if entry.get("manager") != FIELD_MANAGER]
    newest = max(others, key=lambda entry: str(entry.get("time", "")), default=None)
    if newest is None:
        return "somebody whom its managedFields do not name"
    return f"{newest.get('manager')} ({newest.get('operation')} at {newest.get('time')})"


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


def version_of(secret: Mapping[str, Any]) -> SecretVersion:
    """Which state of which Secret an object is, whole or its metadata alone."""
    metadata = secret["metadata"]
    return SecretVersion(metadata["uid"], metadata["resourceVersion"], written_for(secret))
