"""Which Secrets of ours stand, by uid and resource version only. Their content never comes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.client import METADATA_LIST_ONLY, METADATA_ONLY
from clm.cluster.secrets import SecretVersion
from clm.cluster.watch import ObjectWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.cluster.client import ApiClient


class SecretWatch(ObjectWatch[SecretVersion]):
    """Follows the Secrets that carry CLM's label.

    `changed(namespace, name)` is called for each Secret that appeared, changed or went; it must not block.
    """

    def __init__(self, client: ApiClient, changed: Callable[[str, str], None]) -> None:
        super().__init__(
            client,
            changed,
            collection=paths.SECRETS,
            selector=paths.MANAGED_SELECTOR,
            accept=(METADATA_LIST_ONLY, METADATA_ONLY),
            read=_version,
        )


def _version(item: dict[str, Any]) -> SecretVersion:
    metadata = item["metadata"]
    return SecretVersion(metadata["uid"], metadata["resourceVersion"])
