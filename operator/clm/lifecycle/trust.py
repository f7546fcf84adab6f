"""Trust bundles: which ConfigMap of which Policy has to stand in which namespace, and with what.

Pure bookkeeping over what the view knows; who reads the roots, writes and waits is controllers/trust_bundles.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from clm.policy.selector import selects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.cluster.config_maps import BundleContent
    from clm.lifecycle.view import ClusterView, PolicyView
    from clm.resources.trust_bundle import TrustBundle

_SHOWN = 5


class Target(NamedTuple):
    """One Policy's roots in one namespace. By the Policy's uid: another one of its name is another Policy."""

    policy_uid: str
    namespace: str


@dataclass(frozen=True, slots=True)
class BundleReport:
    """How a trust bundle stands: in how many namespaces of those selected, with how many roots, what is in the way."""

    config_map: str
    selected: int
    standing: int
    roots: int
    waiting: str | None = None
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> str:
        """Why the condition is as it is, in one word."""
        if self.waiting is not None:
            return "Waiting"
        if self.problems:
            return "InTheWay"
        return "Published" if self.standing == self.selected else "Publishing"

    @property
    def message(self) -> str:
        """Why the condition is as it is, for people."""
        if self.waiting is not None:
            return self.waiting
        said = (
            f"ConfigMap {self.config_map} with {self.roots} root certificate{'' if self.roots == 1 else 's'} stands in"
            f" {self.standing} of {self.selected} namespaces"
        )
        if not self.problems:
            return said
        shown = "; ".join(f"{namespace}: {problem}" for namespace, problem in self.problems[:_SHOWN])
        more = len(self.problems) - _SHOWN
        return f"{said}; in the way: {shown}" + (f"; and in {more} more" if more > 0 else "")


@dataclass(slots=True)
class Bundle:
    """A Policy's trust bundle: what it has to hold (None while that is not known), and how it stands."""

    policy: PolicyView
    spec: TrustBundle
    content: BundleContent | None = None
    roots: int = 0
    waiting: str | None = "the roots of the issuing CA are being looked up"
    is_read: bool = False
    standing: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)


class Bundles:
    """The trust bundles of all Policies, by the Policy's uid."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view
        self._bundles: dict[str, Bundle] = {}
        self._ending: set[str] = set()

    def get(self, policy_uid: str) -> Bundle | None:
        """Trust bundle of a Policy; None when it has none."""
        return self._bundles.get(policy_uid)

    def of(self, policy: PolicyView) -> Bundle | None:
        """Take in a Policy as it is now. A spec that cannot be read changes nothing of what stands."""
        known = self._bundles.get(policy.uid)
        if policy.spec is None:
            return known
        spec = policy.spec.trust_bundle
        if spec is None:
            self._bundles.pop(policy.uid, None)
            return None
        if known is None:
            known = self._bundles[policy.uid] = Bundle(policy, spec)
        if known.spec.config_map != spec.config_map:
            known.content = None
            known.standing.clear()
        known.policy, known.spec = policy, spec
        return known

    def forget(self, policy_uid: str) -> None:
        """Forget a Policy that is gone."""
        self._bundles.pop(policy_uid, None)

    def all(self) -> Iterator[tuple[str, Bundle]]:
        """Iterate over a copy of all that is known."""
        return iter(list(self._bundles.items()))

    def namespace_ends(self, name: str, *, ends: bool) -> None:
        """Note that nothing can be written to a namespace any more, or that it can."""
        (self._ending.add if ends else self._ending.discard)(name)

    def is_selected(self, bundle: Bundle, namespace: str) -> bool:
        """Tell whether a namespace, which stands, is to have the bundle."""
        labels = self._view.namespace_labels(namespace)
        return labels is not None and namespace not in self._ending and selects(bundle.spec.selector, labels)

    def is_ending(self, namespace: str) -> bool:
        """Tell whether a namespace is going, and all in it with it."""
        return namespace in self._ending or self._view.namespace_labels(namespace) is None

    def owner(self, config_map: str, namespace: str) -> Bundle | None:
        """Bundle that has a ConfigMap of this name in a namespace: the oldest Policy's, then the first by name."""
        wanting = [
            bundle
            for bundle in self._bundles.values()
            if bundle.spec.config_map == config_map and self.is_selected(bundle, namespace)
        ]
        return min(wanting, key=lambda bundle: (bundle.policy.created, bundle.policy.name), default=None)

    def report(self, policy_uid: str) -> BundleReport | None:
        """How a Policy's bundle stands; None when it has none."""
        bundle = self._bundles.get(policy_uid)
        if bundle is None:
            return None
        selected = [name for name in self._view.namespaces() if self.is_selected(bundle, name)]
        standing = sum(1 for name in selected if name in bundle.standing)
        problems = tuple(sorted((name, bundle.problems[name]) for name in selected if name in bundle.problems))
        return BundleReport(bundle.spec.config_map, len(selected), standing, bundle.roots, bundle.waiting, problems)
