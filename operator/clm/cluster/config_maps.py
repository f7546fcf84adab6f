"""The ConfigMaps with root certificates: created where there is none, patched where there is one of ours, else left.

They are public and small, so that the watch brings them whole: what stands is compared with what should, also after a
restart, and nothing has to be remembered of what was written.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.client import JSON
from clm.cluster.secrets import last_writer
from clm.cluster.watch import ObjectWatch
from clm.errors import AlreadyExists, ClmError, Forbidden, NotFound, NotOurs, StaleObject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clm.cluster.client import ApiClient

logger = logging.getLogger(__name__)

POLICY_LABEL = "clm-operator.io/trust-bundle"
"""Label with the uid of the Policy whose roots a ConfigMap holds: it makes the ConfigMap ours."""
POLICY_NAME = "clm-operator.io/policy-name"
ROOTS = "ca.crt"
_DELETED = "somebody who deleted it"


@dataclass(frozen=True, slots=True)
class BundleVersion:
    """Which state of which ConfigMap, whose it is by its label, and a digest of what it holds."""

    uid: str
    resource_version: str
    policy_uid: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContent:
    """What a ConfigMap of ours has to hold."""

    config_map: str
    policy_uid: str
    policy_name: str
    roots: str

    @property
    def digest(self) -> bytes:
        """What `BundleVersion.digest` is where it stands."""
        return _digest({ROOTS: self.roots}, {}, self.policy_name)


class BundleWatch(ObjectWatch[BundleVersion]):
    """Follows the ConfigMaps that hold a trust bundle."""

    def __init__(self, client: ApiClient, changed: Callable[[str, str], None]) -> None:
        super().__init__(
            client, changed, collection=paths.CONFIG_MAPS, selector=POLICY_LABEL, accept=(JSON, JSON), read=_version
        )
        self._told = False

    def _failed(self, error: ClmError, delay_s: float) -> None:
        # An installation without trust bundles need not give the right: to say so once will do.
        if isinstance(error, Forbidden):
            if not self._told:
                logger.info("trust bundles need the rights in config/rbac-trust.yaml: %s", error)
            self._told = True
        else:
            super()._failed(error, delay_s)


class ConfigMapStore:
    """Writes and deletes ConfigMaps of trust bundles."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def publish(
        self, namespace: str, content: BundleContent, *, known: BundleVersion | None, may_take: Callable[[str], bool]
    ) -> tuple[BundleVersion, str]:
        """Make the ConfigMap hold exactly `content`. Returns what stands then, and who had written it last but CLM.

        `known` is what stands by the watch; without it a new one is created. `may_take(policy uid)` tells whether one
        that holds another Policy's roots may be taken over. Raises NotOurs, StaleObject (try again), Refused, an
        Unavailable.
        """
        path = paths.config_map(namespace, content.config_map)
        found = await self._client.get(path)
        if found is None:
            try:
                return _version(await self._client.create(paths.config_maps(namespace), _body(content))), _DELETED
            except AlreadyExists as error:
                raise StaleObject(f"ConfigMap {content.config_map} came meanwhile") from error
        if known is None or found["metadata"]["uid"] != known.uid:
            _claim(found, content, may_take)
        patch = _difference(found, content)
        if patch is None:
            return _version(found), last_writer(found)
        patch["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            return _version(await self._client.merge_patch(path, patch)), last_writer(found)
        except NotFound as error:
            raise StaleObject(f"ConfigMap {content.config_map} was deleted meanwhile") from error

    async def delete(self, namespace: str, name: str, known: BundleVersion) -> None:
        """Delete a ConfigMap of ours, if it is still as it is known. Raises StaleObject, Refused, an Unavailable."""
        conditions = {"uid": known.uid, "resourceVersion": known.resource_version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        try:
            await self._client.request("DELETE", paths.config_map(namespace, name), body=body)
        except NotFound:
            return


def _claim(found: Mapping[str, Any], content: BundleContent, may_take: Callable[[str], bool]) -> None:
    policy = _labels(found).get(POLICY_LABEL)
    if policy is None:
        if (found["metadata"].get("annotations") or {}).get(POLICY_NAME) == content.policy_name:
            return  # somebody took our label from it
        raise NotOurs(f"ConfigMap {content.config_map} exists and is not CLM's; delete it, or choose another name")
    if policy != content.policy_uid and not may_take(policy):
        raise NotOurs(f"ConfigMap {content.config_map} holds the roots of another Policy; choose another name")


def _body(content: BundleContent) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": content.config_map, "labels": _our_labels(content), "annotations": _annotations(content)},
        "data": {ROOTS: content.roots},
    }


def _difference(found: Mapping[str, Any], content: BundleContent) -> dict[str, Any] | None:
    """Merge patch that turns `found` into `content`; labels and annotations of others stay, data of others does not."""
    data = {key: None for key in found.get("data") or {} if key != ROOTS} | _missing(
        found.get("data"), {ROOTS: content.roots}
    )
    metadata = {
        "labels": _missing(_labels(found), _our_labels(content)),
        "annotations": _missing(found["metadata"].get("annotations"), _annotations(content)),
    }
    binary = dict.fromkeys(found.get("binaryData") or {})
    if not (data or binary or metadata["labels"] or metadata["annotations"]):
        return None
    return {"metadata": metadata, "data": data, "binaryData": binary}


def _missing(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> dict[str, str | None]:
    return {key: value for key, value in wanted.items() if (found or {}).get(key) != value}


def _our_labels(content: BundleContent) -> dict[str, str]:
    return {paths.MANAGED_LABEL: "true", POLICY_LABEL: content.policy_uid}


def _annotations(content: BundleContent) -> dict[str, str]:
    return {POLICY_NAME: content.policy_name}


def _labels(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


def _version(found: Mapping[str, Any]) -> BundleVersion:
    metadata = found["metadata"]
    name = (metadata.get("annotations") or {}).get(POLICY_NAME, "")
    managed = _labels(found).get(paths.MANAGED_LABEL) == "true"
    return BundleVersion(
        metadata["uid"],
        metadata["resourceVersion"],
        _labels(found).get(POLICY_LABEL, ""),
        _digest(found.get("data") or {}, found.get("binaryData") or {}, name if managed else ""),
    )


def _digest(data: Mapping[str, str], binary: Mapping[str, str], policy_name: str) -> bytes:
    return hashlib.sha256(json.dumps([data, binary, policy_name], sort_keys=True).encode()).digest()
