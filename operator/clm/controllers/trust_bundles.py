"""Keeps the roots of each Policy's CA in the ConfigMaps of the namespaces that it selects.

Policies, CAs, namespaces and ConfigMaps that change only say what to look at; a few workers compare and write. A bundle
is never written empty, and never takes the place of what CLM did not make.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.controllers.bundle_comparison import BundleComparison, stands
from clm.controllers.bundle_reports import BundleReports
from clm.controllers.looks import look_again_and_again
from clm.controllers.queue import WorkQueue
from clm.controllers.trusted_roots import TrustedRoots
from clm.errors import ClmError, NotOurs, Refused, StaleObject
from clm.lifecycle.contest import CONTESTED_FROM
from clm.lifecycle.repair_pace import QUIET_S, RepairPace, delay_after_s
from clm.lifecycle.trust import Bundles, Target

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.client import ApiClient
    from clm.cluster.config_maps import BundleWatch, ConfigMapStore
    from clm.lifecycle.trust import Bundle
    from clm.lifecycle.view import ClusterView
    from clm.storage.secure.authorities import AuthorityStore

logger = logging.getLogger(__name__)

_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 600.0


class TrustBundleController:
    """Keeps the trust bundles. `reported(policy name)` is called when one stands otherwise than before."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        cluster_id: uuid.UUID,
        view: ClusterView,
        watch: BundleWatch,
        store: ConfigMapStore,
        authorities: AuthorityStore,
        reported: Callable[[str], None],
        clock: Callable[[], float],
        utc_now: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._watch = watch
        self._store = store
        self._bundles = Bundles(view)
        self.reports = BundleReports(self._bundles, synced=watch.synced, reported=reported, clock=clock)
        self._compared = BundleComparison(view=view, watch=watch, bundles=self._bundles)
        self._pace: RepairPace[Target] = RepairPace(clock=clock)
        self._queue: WorkQueue[Target] = WorkQueue(
            clock=clock, first_delay_s=_FIRST_RETRY_S, last_delay_s=_LAST_RETRY_S
        )
        self.roots = TrustedRoots(
            cluster_id=cluster_id,
            view=view,
            bundles=self._bundles,
            authorities=authorities,
            changed=self._look_at_all,
            clock=utc_now,
        )

    # What others tell. None of it may block.

    def policy_changed(self, name: str) -> None:
        """Take in that a Policy came, changed or went."""
        policy = self._view.policy(name)
        before = {bundle.spec.config_map for _, bundle in self._bundles.all() if bundle.policy.name == name}
        for uid, bundle in self._bundles.all():
            if bundle.policy.name == name and (policy is None or policy.uid != uid):
                self._policy_gone(uid)
        if policy is not None:
            if self._bundles.of(policy) is None:
                self._look_at_all(policy.uid)
            else:
                self.roots.read(policy.uid)
        for uid, bundle in self._bundles.all():
            if bundle.spec.config_map in before and bundle.policy.name != name:
                self._look_at_all(uid)  # its name may be free now

    def namespace_changed(self, name: str, *, ends: bool) -> None:
        """Take in that a namespace came, has other labels, or is going."""
        self._bundles.namespace_ends(name, ends=ends)
        for uid, bundle in self._bundles.all():
            if self._compared.is_wrong(Target(uid, name), bundle):
                self._add(Target(uid, name))
            else:
                self.reports.tell(bundle)

    def config_map_changed(self, namespace: str, name: str) -> None:
        """Take in that a ConfigMap of ours appeared, changed or went."""
        seen = self._watch.version(namespace, name)
        if seen is not None:
            self._compared.named(seen.policy_uid, name)
        for uid, bundle in self._bundles.all():
            target = Target(uid, namespace)
            if bundle.spec.config_map != name or self._queue.is_working(target):
                continue
            if self._compared.is_wrong(target, bundle):
                self._add(target, delay_s=self._pace.delay_s(target) if namespace in bundle.standing else 0.0)

    def queued(self) -> int:
        """Count the Policies whose roots are to be read, and the namespaces that are to be written to."""
        return self.roots.queued() + len(self._queue) + self._queue.working

    # What runs.

    async def run(self, *, workers: int, interval_s: float) -> None:
        """Keep the bundles until cancelled; the roots are read again every `interval_s` seconds, since they expire."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run())
            await self._watch.synced.wait()
            for (_, name), seen in self._watch.items():
                self._compared.named(seen.policy_uid, name)
            group.create_task(self._queue.run())
            group.create_task(self.roots.run(interval_s=interval_s))
            for _ in range(workers):
                group.create_task(self._work())

    async def run_sweep(self, client: ApiClient, *, interval_s: float) -> None:
        """Have the bundles go whose Policy was deleted while nobody watched, by a list of what stands."""
        await self._watch.synced.wait()
        what, look = "the sweep for trust bundles without a Policy is tried again", partial(self._sweep, client)
        await look_again_and_again(look, interval_s=interval_s, what=what, logger=logger)

    async def _sweep(self, client: ApiClient) -> None:
        known = {policy.uid for policy in self._view.policies()}
        orphaned = {seen.policy_uid for _, seen in self._watch.items()} - known
        if orphaned:
            items, _ = await client.list_metadata(paths.POLICIES)
            for uid in orphaned - {item["metadata"]["uid"] for item in items}:
                self._policy_gone(uid)

    async def _work(self) -> None:
        while True:
            target = await self._queue.take()
            try:
                await self._bring_on(target)
            except ClmError as error:
                self._failed(target, error)
            except Exception:
                logger.exception("%s: a defect in CLM; the trust bundle is tried again", target)
                self._queue.retry(target)
            finally:
                self._queue.done(target)
            bundle = self._bundles.get(target.policy_uid)
            if bundle is not None and target.namespace in bundle.standing and self._compared.is_wrong(target, bundle):
                self._add(target, delay_s=self._pace.delay_s(target))  # it changed while it was worked on

    async def _bring_on(self, target: Target) -> None:
        """Bring one Policy's roots in one namespace to what they should be."""
        uid, namespace = target
        bundle = self._bundles.get(uid)
        if bundle is not None:
            bundle.pending.discard(namespace)
            bundle.problems.pop(namespace, None)
            if self._bundles.is_selected(bundle, namespace):
                await self._publish(target, bundle)
        if not self._bundles.is_ending(namespace):
            await self._remove(target, bundle)
        self._queue.forget(target)
        if bundle is not None:
            self.reports.tell(bundle)

    async def _publish(self, target: Target, bundle: Bundle) -> None:
        content, namespace = bundle.content, target.namespace
        if content is None:
            return
        owner = self._bundles.owner(content.config_map, namespace)
        if owner is not bundle:
            named = owner.policy.name if owner is not None else "another one"
            bundle.problems[namespace] = f"it belongs to Policy {named}, which is older"
            bundle.standing.discard(namespace)
            return
        known = self._watch.version(namespace, content.config_map)
        if not stands(known, content):
            known, writer = await self._store.publish(
                namespace,
                content,
                known=known,
                may_take=lambda other: self._compared.may_take(other, bundle, namespace),
            )
            self._watch.wrote(namespace, content.config_map, known)
            self._compared.named(target.policy_uid, content.config_map)
            self._count_repair(target, bundle, writer)
        bundle.standing.add(namespace)

    def _count_repair(self, target: Target, bundle: Bundle, writer: str) -> None:
        repairs = self._pace.repairs(target)
        if repairs >= CONTESTED_FROM:
            bundle.problems[target.namespace] = (
                f"it is changed again and again, last by {writer}; it was to be put right {repairs} times within the"
                f" hour, and will be again {delay_after_s(repairs):.0f} s later"
            )
            self._queue.add_after(target, QUIET_S)

    async def _remove(self, target: Target, bundle: Bundle | None) -> None:
        """Delete what should not stand: in an unselected namespace, under a former name, of a Policy that is gone."""
        uid, namespace = target
        if bundle is None and not self._compared.is_known_to_want_nothing(uid):
            return
        for name in sorted(self._compared.names(uid)):
            known = self._watch.version(namespace, name)
            if known is None or known.policy_uid != uid:
                continue
            if bundle is not None and name == bundle.spec.config_map and self._bundles.is_selected(bundle, namespace):
                continue
            owner = self._bundles.owner(name, namespace)
            if owner is not None and owner.policy.uid != uid and owner.content is not None:
                self._add(Target(owner.policy.uid, namespace))  # it takes it over as it is: no moment without roots
                continue
            await self._store.delete(namespace, name, known)
        if bundle is not None and not self._bundles.is_selected(bundle, namespace):
            bundle.standing.discard(namespace)

    def _failed(self, target: Target, error: ClmError) -> None:
        bundle = self._bundles.get(target.policy_uid)
        if isinstance(error, StaleObject):
            self._queue.add_after(target, max(self._pace.delay_s(target), _FIRST_RETRY_S))
        else:
            self._queue.retry(target)
        if bundle is None:
            return
        if isinstance(error, StaleObject):
            self._count_repair(target, bundle, "somebody who was faster")
        if isinstance(error, (NotOurs, Refused)):
            bundle.standing.discard(target.namespace)
            bundle.problems[target.namespace] = str(error)
        logger.info("trust bundle of Policy %s in %s: %s", bundle.policy.name, target.namespace, error)
        self.reports.tell(bundle)

    # What is queued.

    def _policy_gone(self, uid: str) -> None:
        self._compared.policy_gone(uid)
        bundle = self._bundles.get(uid)
        self._bundles.forget(uid)
        self._look_at_all(uid)
        if bundle is None:
            return
        for other, rival in self._bundles.all():
            if rival.spec.config_map == bundle.spec.config_map:
                self._look_at_all(other)

    def _look_at_all(self, uid: str) -> None:
        """Look at every namespace in which a Policy's bundle stands, or should."""
        bundle = self._bundles.get(uid)
        names = self._compared.names(uid)
        for (namespace, name), seen in self._watch.items() if names else ():
            if seen.policy_uid == uid and (bundle is None or name != bundle.spec.config_map):
                self._add(Target(uid, namespace))
        if bundle is None:
            return
        for namespace in {*self._view.namespaces(), *bundle.standing}:
            if self._compared.is_wrong(Target(uid, namespace), bundle):
                self._add(Target(uid, namespace))
        self.reports.tell(bundle)

    def _add(self, target: Target, *, delay_s: float = 0.0) -> None:
        bundle = self._bundles.get(target.policy_uid)
        if delay_s:
            self._queue.add_after(target, delay_s)
            return
        if bundle is not None:
            bundle.pending.add(target.namespace)
        self._queue.add(target)
