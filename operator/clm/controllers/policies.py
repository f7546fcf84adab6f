"""Takes in Policies, says in their status whether they can be used, and wakes the Certificates that wait."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError, HsmError, Unavailable
from clm.lifecycle.status import Refusal
from clm.resources.conditions import remove_condition, set_condition
from clm.resources.policy import CaIssuer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from clm.cluster.client import ApiClient
    from clm.controllers.bundle_reports import Keep
    from clm.lifecycle.trust import BundleReport
    from clm.lifecycle.view import ClusterView, Key, PolicyView
    from clm.pki.profile import Issuer

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_LOOK_AGAIN_S = 60.0
"""For what nobody tells of when it is mended: a key that the token lacks."""


class PolicyController:
    """Keeps the view of Policies, and their Ready condition.

    `issuer(ca)` finds the CA that a Policy names, or tells why it does not issue: the same that Certificates are told.
    `bundle(policy)` tells how its trust bundle stands; None when it has none.
    """

    def __init__(
        self,
        *,
        view: ClusterView,
        client: ApiClient,
        issuer: Callable[[CaIssuer], Awaitable[Issuer | Refusal]],
        changed: Callable[[str], None],
        bundle: Callable[[PolicyView], BundleReport | Keep | None] = lambda _: None,
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._client = client
        self._issuer = issuer
        self._changed = changed
        self._bundle = bundle
        self._clock = clock
        self._told: dict[str, tuple[str, int]] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        self._waiting: set[str] = set()
        self._working = 0
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def observed(self, type: str | None, body: dict[str, Any]) -> None:  # noqa: A002
        """Take in an event of a Policy object. Must not block."""
        name = body["metadata"]["name"]
        if type == "DELETED":
            self._forget(name, body["metadata"]["uid"])
            return
        policy = self._view.put_policy(body)
        self._see(body)
        self._add(name)
        # Another object of that name may have the very generation of the one that went while nobody looked. And the
        # view may have had it from a reconcile that could not wait for this event: what counts is what was told.
        state = (policy.uid, policy.generation)
        if self._told.get(name) != state:
            self._told[name] = state
            self._changed(name)

    def issuer_changed(self, key: Key) -> None:
        """Look again at the Policies that name this Certificate as their CA. Must not block."""
        for name in self._view.policies_issued_by(key):
            self._add(name)

    def look_again(self, name: str) -> None:
        """Have the status of a Policy compared with what it should be. Must not block."""
        self._add(name)

    def queued(self) -> int:
        """Count the Policies whose status is to be looked at, or is being."""
        return len(self._waiting) + self._working

    async def run_sweep(self, client: ApiClient, *, interval_s: float) -> None:
        """Forget what was deleted while the watch was away, by a list of what stands; until cancelled.

        A Policy that is gone must not go on to allow anything, so the interval is how long it may at most.
        """
        what, look = "the sweep for deleted Policies is tried again", partial(self._sweep, client)
        await look_again_and_again(look, first_s=interval_s, interval_s=interval_s, what=what, logger=logger)

    async def _sweep(self, client: ApiClient) -> None:
        known = [(policy.name, policy.uid) for policy in self._view.policies()]
        items, _ = await client.list_metadata(paths.POLICIES)
        standing = {item["metadata"]["uid"] for item in items}
        for name, uid in known:
            # Only what was known before the list was made, and is not in it.
            if uid not in standing and self._forget(name, uid):
                logger.info("Policy %s was deleted while the watch was away", name)

    async def run(self) -> None:
        """Write what the conditions should say, until cancelled."""
        while True:
            name = await self._queue.get()
            self._waiting.discard(name)
            self._working = 1
            try:
                await self._write(name)
            except Unavailable as error:
                logger.info("Policy %s: status is written later: %s", name, error)
                await asyncio.sleep(_RETRY_S)
                self._add(name)
            except ClmError as error:
                logger.info("Policy %s: status was not written: %s", name, error)
            finally:
                self._working = 0

    def _see(self, body: dict[str, Any]) -> None:
        """Keep what the next status is compared with and written under, and no spec."""
        metadata = body["metadata"]
        kept = {key: metadata[key] for key in ("name", "uid", "generation", "resourceVersion")}
        self._seen[metadata["name"]] = {"metadata": kept, "status": body.get("status") or {}}

    def _add(self, name: str) -> None:
        if name not in self._waiting and name in self._seen:
            self._waiting.add(name)
            self._queue.put_nowait(name)

    def _forget(self, name: str, uid: str) -> bool:
        if not self._view.remove_policy(name, uid):
            return False
        self._told.pop(name, None)
        self._seen.pop(name, None)
        self._changed(name)
        return True

    async def _write(self, name: str) -> None:
        policy, body = self._view.policy(name), self._seen.get(name)
        if policy is None or body is None or policy.uid != body["metadata"]["uid"]:
            return
        problem = await self._problem(policy)
        wanted = policy_status(body, problem, bundle=self._bundle(policy), now=self._clock())
        current = body["status"]
        if all(current.get(key) == value for key, value in wanted.items()):
            return
        patch = {"metadata": {"resourceVersion": body["metadata"]["resourceVersion"]}, "status": wanted}
        answer = await self._client.merge_patch(paths.policy_status(name), patch)
        # The event of this write may be long in coming, and the issuer change again before it does.
        if self._seen.get(name) is body:
            self._see(answer)

    async def _problem(self, policy: PolicyView) -> Refusal | None:
        """Why nothing can be issued under a Policy; None when it can."""
        if policy.spec is None:
            return Refusal("InvalidSpec", policy.problem or "spec is invalid")
        if policy.spec.unsupported:
            listed = ", ".join(policy.spec.unsupported)
            return Refusal(
                "NotSupported",
                f"this version does not enforce {listed}; nothing is issued under this Policy until they are removed",
            )
        if not isinstance(policy.spec.issuer, CaIssuer):
            return None
        try:
            issuer = await self._issuer(policy.spec.issuer)
        except Unavailable:
            raise
        except HsmError as error:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._add, policy.name)
            return Refusal(type(error).__name__, str(error), waiting=True)
        return issuer if isinstance(issuer, Refusal) else None


def policy_status(
    body: dict[str, Any], problem: Refusal | None, *, bundle: BundleReport | Keep | None = None, now: datetime
) -> dict[str, Any]:
    """Status of a Policy: Ready when certificates can be issued under it, which is when there is no problem."""
    generation = body["metadata"]["generation"]
    conditions = list((body.get("status") or {}).get("conditions") or ())
    said: dict[str, Any] = {
        "reason": problem.reason if problem else "Ready",
        "message": problem.message if problem else "Certificates can be issued under this Policy",
        "observed_generation": generation,
        "now": now,
    }
    conditions = set_condition(conditions, type="Ready", status="False" if problem else "True", **said)
    present = ("Reconciling" if problem.waiting else "Stalled") if problem else None
    for kind in ("Reconciling", "Stalled"):
        if kind == present:
            conditions = set_condition(conditions, type=kind, status="True", **said)
        else:
            conditions = remove_condition(conditions, kind)
    status = {"observedGeneration": generation, "conditions": conditions}
    if bundle == "keep":
        return status
    return status | _bundle_status(body, conditions, bundle, now=now)


def _bundle_status(
    body: dict[str, Any], conditions: list[dict[str, Any]], bundle: BundleReport | None, *, now: datetime
) -> dict[str, Any]:
    """Condition and count of the trust bundle; they go with it."""
    if bundle is None:
        without = {"conditions": remove_condition(conditions, "TrustBundle")}
        return without | ({"trustBundle": None} if "trustBundle" in (body.get("status") or {}) else {})
    conditions = set_condition(
        conditions,
        type="TrustBundle",
        status="True" if bundle.reason == "Published" else "False",
        reason=bundle.reason,
        message=bundle.message,
        observed_generation=body["metadata"]["generation"],
        now=now,
    )
    return {"conditions": conditions, "trustBundle": {"namespaces": bundle.standing, "roots": bundle.roots}}
