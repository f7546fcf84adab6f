"""Which Secrets of ours stand: by uid, resource version and whose they are. Their content never comes here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.cluster.client import METADATA_LIST_ONLY, METADATA_ONLY
from clm.cluster.secrets import SecretVersion, version_of
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
            read=version_of,
        )

    def written_for(self, namespace: str, certificate_name: str, *, uid: str | None) -> list[str]:
        """Name the Secrets of a namespace that were written for this Certificate, and the one of this uid.

        Those of its former spec.secretName among them. Whose one is now, the API server has to be asked.
        """
        return [
            name
            for name, seen in self.in_namespace(namespace).items()
            if seen.certificate_name == certificate_name or seen.uid == uid
        ]
