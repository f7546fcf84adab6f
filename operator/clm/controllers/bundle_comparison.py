"""Compares what stands in ConfigMaps with what the Policies want there. Writes nothing, and queues nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from clm.cluster.config_maps import BundleContent, BundleVersion, BundleWatch
    from clm.lifecycle.trust import Bundle, Bundles, Target
    from clm.lifecycle.view import ClusterView


class BundleComparison:
    """What the watch has seen, beside what the bundles should be."""

    def __init__(self, *, view: ClusterView, watch: BundleWatch, bundles: Bundles) -> None:
        self._view = view
        self._watch = watch
        self._bundles = bundles
        self._names: dict[str, set[str]] = {}
        self._gone: set[str] = set()

    def named(self, policy_uid: str, name: str) -> None:
        """Take in that a ConfigMap of this name stands, or stood, for a Policy."""
        self._names.setdefault(policy_uid, set()).add(name)

    def names(self, policy_uid: str) -> Collection[str]:
        """Names under which ConfigMaps of a Policy stand, or stood once."""
        return self._names.get(policy_uid, ())

    def policy_gone(self, policy_uid: str) -> None:
        """Take in that a Policy was deleted."""
        self._gone.add(policy_uid)

    def is_known_to_want_nothing(self, policy_uid: str) -> bool:
        """Tell whether a Policy is known to be gone, or to be there without a trust bundle."""
        if policy_uid in self._gone:
            return True
        # A Policy that a reconcile has read ahead of its event is in the view, and its bundle is not taken in yet.
        return any(
            policy.uid == policy_uid and policy.spec is not None and policy.spec.trust_bundle is None
            for policy in self._view.policies()
        )

    def may_take(self, policy_uid: str, bundle: Bundle, namespace: str) -> bool:
        """Tell whether a bundle may take over the ConfigMap that stands for another Policy."""
        other = self._bundles.get(policy_uid)
        known = other is not None or self.is_known_to_want_nothing(policy_uid)
        return known and self._bundles.owner(bundle.spec.config_map, namespace) is bundle

    def is_wrong(self, target: Target, bundle: Bundle) -> bool:
        """Tell whether a namespace needs a look: the bundle does not stand there and should, or the other way round."""
        name = bundle.spec.config_map
        known = self._watch.version(target.namespace, name)
        ours = known is not None and known.policy_uid == target.policy_uid
        counted = target.namespace in bundle.standing
        if not self._bundles.is_selected(bundle, target.namespace):
            return ours or counted
        if self._bundles.owner(name, target.namespace) is not bundle:
            return counted or target.namespace not in bundle.problems
        return bundle.content is not None and not (counted and stands(known, bundle.content))


def stands(known: BundleVersion | None, content: BundleContent) -> bool:
    """Tell whether a ConfigMap that was seen is this Policy's, with these roots."""
    return known is not None and known.policy_uid == content.policy_uid and known.digest == content.digest
