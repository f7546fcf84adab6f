"""The objects of a chaos run: what is asked for, changed and deleted while the operator dies."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.secrets import written_for
from clm.errors import AlreadyExists, NotFound, StaleObject

if TYPE_CHECKING:
    import random

    from clm.cluster.client import ApiClient

NAMESPACE = "chaos"
_UNTOUCHED = ("root", "issuing")
_REVOKED_AT_ONCE = 3
_KEYS: tuple[dict[str, Any], ...] = (
    {"algorithm": "ECDSA", "size": 256},
    {"algorithm": "Ed25519"},
    {"algorithm": "ECDSA", "size": 384},
    # It is made in a thread, away from the event loop.
    {"algorithm": "RSA", "size": 2048},
)


def _policy(name: str, issuer: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "clm-operator.io/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {
            "issuer": issuer,
            "allowed": {
                "commonName": {"values": ["*"]},
                "dnsNames": {"values": ["*"]},
                "usages": [
                    "digital signature",
                    "key encipherment",
                    "server auth",
                    "cert sign",
                    "crl sign",
                ],
                "isCA": True,
            },
        },
    }


def authority(name: str, policy: str, key: dict[str, Any] = _KEYS[0]) -> dict[str, Any]:
    """Make a CA whose key is in the token."""
    return {
        "policyRef": {"name": policy},
        "secretName": name,
        "commonName": f"Chaos {name}",
        "isCA": True,
        "duration": "87600h" if policy == "chaos-root" else "43800h",
        "usages": ["digital signature", "cert sign", "crl sign"],
        "privateKey": key,
    }


@dataclass(slots=True)
class Objects:
    """Creates and changes Certificates; `wanted` is what must be Ready in the end.

    Of these `revoked` must be Revoked instead. `buried` were deleted with deletionPolicy Revoke.
    """

    client: ApiClient
    random: random.Random
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)
    changes: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    async def prepare(self) -> None:
        """Make the namespace, the Policies and the two CAs."""
        await self._create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )
        issuing = {"ca": {"namespace": NAMESPACE, "name": "issuing"}}
        for policy in (
            _policy("chaos-root", {"selfSigned": {}}),
            _policy("chaos-issuing", {"ca": {"namespace": NAMESPACE, "name": "root"}}),
            _policy("chaos-leaf", issuing),
        ):
            await self._create(paths.POLICIES, policy)
        await self.create("root", authority("root", "chaos-root"))
        await self.create("issuing", authority("issuing", "chaos-issuing"))

    async def create(self, name: str, spec: dict[str, Any]) -> None:
        """Create a Certificate that must become Ready."""
        path = f"/apis/clm-operator.io/v1alpha1/namespaces/{NAMESPACE}/certificates"
        body = {
            "apiVersion": "clm-operator.io/v1alpha1",
            "kind": "Certificate",
            "metadata": {"name": name},
            "spec": spec,
        }
        await self._create(path, body)
        self.wanted[name] = spec
        self.changes["created"] += 1

    async def stir(self, *, leaves: int, with_authority: bool) -> None:
        """Create some leaves, change one, renew one, delete one, lose a Secret; now and then make another CA.

        Some are revoked by spec.revocation, which may be taken back later, and some by being deleted.
        """
        for _ in range(leaves):
            self._number += 1
            name = f"leaf-{self._number:04d}"
            await self.create(name, self._leaf(name, _KEYS[self._number % len(_KEYS)]))
        if with_authority:
            self._number += 1
            name = f"ca-{self._number:04d}"
            await self.create(name, authority(name, "chaos-issuing"))
        await self._bury()
        await self._take_back()
        await self._revoke()
        old = [name for name in self.wanted if name.startswith("leaf-")]
        await self._change(self.random.choice(old))
        await self._renew(self.random.choice([name for name in self.wanted if name not in _UNTOUCHED]))
        if len(old) > leaves:
            await self._recreate(self.random.choice(old))
            await self._delete(self.random.choice(old))
            await self._lose_secret(self.random.choice([name for name in self.wanted if name.startswith("leaf-")]))

    async def large_authority(self) -> str:
        """Make a CA whose key takes the token a second or two; give its name."""
        self._number += 1
        name = f"ca-{self._number:04d}"
        await self.create(name, authority(name, "chaos-issuing", {"algorithm": "RSA", "size": 4096}))
        return name

    async def not_ready(self) -> dict[str, str]:
        """Name what is not Ready at its newest generation, and why."""
        path = f"/apis/clm-operator.io/v1alpha1/namespaces/{NAMESPACE}/certificates"
        listed = await self.client.request("GET", path)
        found = {item["metadata"]["name"]: item for item in listed["items"]}
        waiting = {
            name: why
            for name in self.wanted
            if (why := _why_not_ready(found.get(name), revoked=name in self.revoked)) is not None
        }
        return waiting | dict.fromkeys(self.buried & found.keys(), "was deleted and is still there")

    async def secrets_left(self) -> list[str]:
        """Name the Secrets, those of former names too, of what was deleted to be revoked."""
        secrets, _ = await self.client.list_metadata(paths.secrets(NAMESPACE), label_selector=paths.MANAGED_SELECTOR)
        return [
            f"{secret['metadata']['name']} is there, and its Certificate was deleted to be revoked"
            for secret in secrets
            if written_for(secret) in self.buried
        ]

    def _leaf(self, name: str, key: dict[str, Any]) -> dict[str, Any]:
        return {
            "policyRef": {"name": "chaos-leaf"},
            "secretName": f"{name}-tls",
            "commonName": f"{name}.chaos.svc",
            "dnsNames": [f"{name}.chaos.svc"],
            "usages": ["digital signature", "server auth"],
            "privateKey": key,
        }

    async def _bury(self) -> None:
        """Make one that is revoked when it is deleted, give the one before another Secret, and delete those before."""
        before = [name for name in self.wanted if name.startswith("bound-")]
        self._number += 1
        name = f"bound-{self._number:04d}"
        await self.create(name, {**self._leaf(name, _KEYS[0]), "deletionPolicy": "Revoke"})
        for name in before[-1:]:
            await self.client.merge_patch(paths.certificate(NAMESPACE, name), {"spec": {"secretName": f"{name}-moved"}})
            self.changes["secrets renamed"] += 1
        for name in before[:-1]:
            await self._delete(name)
            self.buried.add(name)
            self.revoked.discard(name)

    async def _revoke(self) -> None:
        """Revoke one of the older half, which probably has a certificate."""
        leaves = [name for name in self.wanted if name.startswith("leaf-") and name not in self.revoked]
        name = self.random.choice(leaves[: len(leaves) // 2 + 1])
        reason = self.random.choice(["superseded", "keyCompromise"])
        await self.client.merge_patch(paths.certificate(NAMESPACE, name), {"spec": {"revocation": {"reason": reason}}})
        self.revoked.add(name)
        self.changes["revoked"] += 1

    async def _take_back(self) -> None:
        if len(self.revoked) < _REVOKED_AT_ONCE:
            return
        name = self.random.choice(sorted(self.revoked))
        await self.client.merge_patch(paths.certificate(NAMESPACE, name), {"spec": {"revocation": None}})
        self.revoked.discard(name)
        self.changes["revocations taken back"] += 1

    async def _change(self, name: str) -> None:
        names = [f"{name}.chaos.svc", f"v{self.random.randrange(10**9)}.chaos.svc"]
        try:
            await self.client.merge_patch(paths.certificate(NAMESPACE, name), {"spec": {"dnsNames": names}})
        except (NotFound, StaleObject):
            return
        self.changes["changed"] += 1

    async def _renew(self, name: str) -> None:
        asked = {"metadata": {"annotations": {"clm-operator.io/renew-requested-at": datetime.now(UTC).isoformat()}}}
        try:
            await self.client.merge_patch(paths.certificate(NAMESPACE, name), asked)
        except (NotFound, StaleObject):
            return
        self.changes["renewals asked for"] += 1

    async def _delete(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self.client.request("DELETE", paths.certificate(NAMESPACE, name))
        del self.wanted[name]
        self.revoked.discard(name)
        self.changes["deleted"] += 1

    async def _recreate(self, name: str) -> None:
        """Delete an object and create one of its name: with the same spec it adopts, with another it does not."""
        spec = self.wanted[name]
        await self._delete(name)
        self.changes["deleted"] -= 1
        if self.random.random() < 0.5:
            spec = self._leaf(name, self.random.choice(_KEYS))
        await self.create(name, spec)
        self.changes["created"] -= 1
        self.changes["created again"] += 1

    async def _lose_secret(self, name: str) -> None:
        try:
            await self.client.request("DELETE", paths.secret(NAMESPACE, f"{name}-tls"))
        except NotFound:
            return
        self.changes["secrets lost"] += 1

    async def _create(self, path: str, body: dict[str, Any]) -> None:
        try:
            await self.client.create(path, body)
        except AlreadyExists:
            return


def _why_not_ready(item: dict[str, Any] | None, *, revoked: bool) -> str | None:
    if item is None:
        return "does not exist"
    status = item.get("status") or {}
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return "newest generation not observed"
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    if revoked:
        said = {c["type"]: c["status"] for c in status.get("conditions", ())}
        return None if (said.get("Revoked"), said.get("Ready")) == ("True", "False") else "is not Revoked"
    if ready is None or ready["status"] != "True":
        return f"{ready['reason']}: {ready['message']}" if ready else "no Ready condition"
    return None
