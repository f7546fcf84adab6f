"""Fetches the passwords of keystores, from the spec or from the Secrets that it names.

They go from here into the files of the Secret, and nowhere else: no log, condition, Event, audit record or database
ever has one.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.errors import KeystorePasswordInvalid, KeystorePasswordNotFound
from clm.resources.keystores import password_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.cluster.client import ApiClient
    from clm.resources.keystores import Keystore, Keystores


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of an object's keystores, by the path of the keystore, and the versions of their Secrets."""

    by_path: Mapping[str, str] = field(repr=False)
    versions: Mapping[str, str]
    """Resource version of each Secret that was read, by its name."""


NO_PASSWORDS = Passwords({}, {})


class PasswordReader:
    """Reads the Secrets that `passwordSecretRef` names, each by its name."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def read(self, namespace: str, keystores: Keystores) -> Passwords:
        """Fetch the password of every keystore; nothing is asked where there is none.

        Raises KeystorePasswordNotFound, KeystorePasswordInvalid, ClusterUnavailable.
        """
        if not any(keystores):
            return NO_PASSWORDS
        references = {store.password_ref.name for store in keystores if store.password_ref is not None}
        secrets = {name: await self._client.get(paths.secret(namespace, name)) for name in sorted(references)}
        by_path = {store.path: _password(store, secrets) for store in keystores}
        versions = {name: secret["metadata"]["resourceVersion"] for name, secret in secrets.items() if secret}
        return Passwords(by_path, versions)


def _password(keystore: Keystore, secrets: Mapping[str, dict[str, Any] | None]) -> str:
    reference = keystore.password_ref
    if reference is None:
        return keystore.password or ""  # held against the rules when the spec was read
    path, secret = f"{keystore.path}.passwordSecretRef", secrets[reference.name]
    if secret is None:
        raise KeystorePasswordNotFound(f"{path}.name: there is no Secret {reference.name} in this namespace; create it")
    encoded = (secret.get("data") or {}).get(reference.key)
    if encoded is None:
        raise KeystorePasswordNotFound(f"{path}.key: the Secret {reference.name} has no key {reference.key}; add it")
    # What is no UTF-8 has characters in it that are not ASCII, whichever they are.
    password = base64.b64decode(encoded).decode("utf-8", "replace")
    problem = password_problem(password)
    if problem is not None:
        raise KeystorePasswordInvalid(f"{path}: {reference.key} of the Secret {reference.name} {problem}")
    return password
