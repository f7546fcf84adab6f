"""Takes in Policies, says in their status whether they can be used, and wakes the Certificates that wait."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.errors import ClmError, Unavailable
from clm.resources.conditions import ConditionStatus, remove_condition, set_condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.client import ApiClient
    from clm.lifecycle.view import ClusterView, PolicyView

logger = logging.getLogger(__name__)

_RETRY_S = 5.0


class PolicyController:
    """Keeps the view of Policies, and their Ready condition."""

    def __init__(
        self,
        *,
        view: ClusterView,
        client: ApiClient,
        changed: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._client = client
        self._changed = changed
        self._clock = clock
        self._told: dict[str, tuple[str, int]] = {}
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def observed(self, type: str | None, body: dict[str, Any]) -> None:  # noqa: A002
        """Take in an event of a Policy object. Must not block."""
        name = body["metadata"]["name"]
        if type == "DELETED":
            self._forget(name, body["metadata"]["uid"])
            return
        policy = self._view.put_policy(body)
        self._queue.put_nowait(body)
        # Another object of that name may have the very generation of the one that went while nobody looked. And the
        # view may have had it from a reconcile that could not wait for this event: what counts is what was told.
        state = (policy.uid, policy.generation)
        if self._told.get(name) != state:
            self._told[name] = state
            self._changed(name)

    async def run_sweep(self, client: ApiClient, *, interval_s: float) -> None:
        """Forget what was deleted while the watch was away, by a list of what stands; until cancelled.

        A Policy that is gone must not go on to allow anything, so the interval is how long it may at most.
        """
        while True:
            await asyncio.sleep(interval_s)
            known = [(policy.name, policy.uid) for policy in self._view.policies()]
            try:
                items, _ = await client.list_metadata(paths.POLICIES)
            except ClmError as error:
                logger.warning("the sweep for deleted Policies is tried again later: %s", error)
                continue
            standing = {item["metadata"]["uid"] for item in items}
            for name, uid in known:
                # Only what was known before the list was made, and is not in it.
                if uid not in standing and self._forget(name, uid):
                    logger.info("Policy %s was deleted while the watch was away", name)

    async def run(self) -> None:
        """Write what the conditions should say, until cancelled."""
        while True:
            body = await self._queue.get()
            try:
                await self._write(body)
            except Unavailable as error:
                logger.info("Policy %s: status is written later: %s", body["metadata"]["name"], error)
                await asyncio.sleep(_RETRY_S)
                self._queue.put_nowait(body)
            except ClmError as error:
                logger.info("Policy %s: status was not written: %s", body["metadata"]["name"], error)

    def _forget(self, name: str, uid: str) -> bool:
        if not self._view.remove_policy(name, uid):
            return False
        self._told.pop(name, None)
        self._changed(name)
        return True

    async def _write(self, body: dict[str, Any]) -> None:
        policy = self._view.policy(body["metadata"]["name"])
        if policy is None or policy.uid != body["metadata"]["uid"]:
            return
        wanted = policy_status(body, policy, now=self._clock())
        current = body.get("status") or {}
        if all(current.get(key) == value for key, value in wanted.items()):
            return
        patch = {"metadata": {"resourceVersion": body["metadata"]["resourceVersion"]}, "status": wanted}
        await self._client.merge_patch(paths.policy_status(policy.name), patch)


def policy_status(body: dict[str, Any], policy: PolicyView, *, now: datetime) -> dict[str, Any]:
    """Status of a Policy: Ready when all that it says is enforced."""
    generation = body["metadata"]["generation"]
    conditions = list((body.get("status") or {}).get("conditions") or ())
    status: ConditionStatus = "True"
    reason, message = "Ready", "Certificates can be issued under this Policy"
    if policy.spec is None:
        status, reason, message = "False", "InvalidSpec", policy.problem or "spec is invalid"
    elif policy.spec.unsupported:
        listed = ", ".join(policy.spec.unsupported)
        status, reason = "False", "NotSupported"
        message = f"this version does not enforce {listed}; nothing is issued under this Policy until they are removed"
    said: dict[str, Any] = {
        "reason": reason,
        "message": message,
        "observed_generation": generation,
        "now": now,
    }
    conditions = set_condition(conditions, type="Ready", status=status, **said)
    if status == "True":
        conditions = remove_condition(conditions, "Stalled")
    else:
        conditions = set_condition(conditions, type="Stalled", status="True", **said)
    return {"observedGeneration": generation, "conditions": conditions}
