"""That a certificate is of its issuer: noticed whatever comes first, and at once when the issuer becomes another."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry

from clm.cluster.secret_watch import SecretWatch
from clm.cluster.secrets import SecretVersion
from clm.controllers.certificates import CertificateController
from clm.controllers.metrics import Metrics
from clm.controllers.policies import PolicyController
from clm.controllers.queue import WorkQueue
from clm.lifecycle.repair_pace import RepairPace
from clm.lifecycle.settled import Settled
from clm.lifecycle.spread import Spread
from clm.lifecycle.view import ClusterView, Key

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 11, 24, tzinfo=UTC)
POLICY, CA, LEAF = "policy", "ca", "leaf"
WEB = Key("shop", "web")


class Cluster:
    """The two controllers with the real comparison of what stands; nothing of it reaches a server."""

    def __init__(self) -> None:
        """Start with nothing seen but the leaf's Secret, which is as it was written."""
        self.view = ClusterView()
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: 0.0)
        watch = SecretWatch(cast("Any", None), lambda *_: None)
        watch.wrote("shop", "web-tls", SecretVersion("s", "1"))
        self.certificates = CertificateController(
            view=self.view,
            queue=self.queue,
            reconciler=cast("Any", None),
            settled=Settled(view=self.view, secret_watch=watch, clock=lambda: NOW),
            metrics=Metrics(CollectorRegistry()),
            pace=RepairPace(clock=lambda: 0.0),
            spread=Spread(per_second=20, clock=lambda: 0.0),
            issuer_changed=lambda key: self.policies.issuer_changed(key),  # noqa: PLW0108 - made below
            clock=lambda: 0.0,
        )
        self.policies = PolicyController(
            view=self.view,
            client=cast("Any", None),
            issuer=cast("Any", None),
            changed=self.certificates.policy_changed,
            clock=lambda: NOW,
        )

    def see(self, what: str, *, ca: str = "ca", key: str = "aa") -> None:
        """Bring the event of one object: the Policy that names `ca`, the CA whose key is `key`, or the leaf."""
        if what == POLICY:
            self.policies.observed(None, policy(ca))
        else:
            self.certificates.observed(None, authority(key) if what == CA else leaf())

    def looked_at(self) -> bool:
        """Tell whether the leaf is looked at."""
        return WEB in self.queue._waiting


def metadata(name: str, uid: str, **more: object) -> dict[str, Any]:
    """Make the metadata of an object of the first generation."""
    return {"name": name, "uid": uid, "generation": 1, "resourceVersion": "7", **more}


def policy(ca: str, *, uid: str = "p") -> dict[str, Any]:
    """Make the Policy of the leaf."""
    issuer = {"ca": {"namespace": "pki", "name": ca}}
    return {"metadata": metadata("internal", uid), "spec": {"issuer": issuer, "allowed": {"isCA": True}}}


def status(**more: object) -> dict[str, Any]:
    """Make the status of a Certificate that is Ready."""
    return {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}], **more}


def authority(key: str, *, uid: str = "c") -> dict[str, Any]:
    """Make a CA that is Ready with this key."""
    spec = {"policyRef": {"name": "root"}, "secretName": "ca", "isCA": True}
    return {
        "metadata": metadata("ca", uid, namespace="pki"),
        "spec": spec,
        "status": status(keyIdentifier=key),
    }


def leaf() -> dict[str, Any]:
    """Make a Certificate that pki/ca issued with the key aa."""
    said = status(issuer={"name": "pki/ca", "keyIdentifier": "aa"}, secret={"uid": "s", "resourceVersion": "1"})
    spec = {"policyRef": {"name": "internal"}, "secretName": "web-tls"}
    return {"metadata": metadata("web", "w", namespace="shop"), "spec": spec, "status": said}


ORDERS = tuple(permutations((POLICY, CA, LEAF)))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize(
    ("change", "looked_at"),
    [({}, False), ({"ca": "other"}, True), ({"key": "bb"}, True)],
    ids=["nothing", "another CA", "another key"],
)
def test_what_changed_while_nobody_looked_is_noticed_in_every_order(
    order: Iterable[str],
    change: dict[str, str],
    looked_at: bool,  # noqa: FBT001
) -> None:
    """At a start the three objects come in any order; a leaf of its issuer needs nothing in any of them."""
    cluster = Cluster()
    for what in order:
        cluster.see(what, **change)
    assert cluster.looked_at() is looked_at


@pytest.mark.parametrize("what", [POLICY, CA])
def test_what_a_reconcile_read_ahead_hides_no_change(what: str) -> None:
    """Another object's reconcile reads the Policy or the CA into the view before its event comes."""
    cluster = Cluster()
    for other in {POLICY, CA, LEAF} - {what}:
        cluster.see(other)
    assert not cluster.looked_at()
    if what == POLICY:
        cluster.view.put_policy(policy("other"))
        cluster.see(POLICY, ca="other")
    else:
        cluster.view.put(authority("bb"))
        cluster.see(CA, key="bb")
    assert cluster.looked_at()


def test_an_issuer_that_becomes_another_while_the_operator_runs() -> None:
    """A CA that was deleted and made again under its name, with another key; and a Policy that names another CA."""
    cluster = Cluster()
    for what in (POLICY, CA, LEAF):
        cluster.see(what)
    cluster.certificates.observed("DELETED", authority("aa"))
    assert not cluster.looked_at()
    cluster.certificates.observed("ADDED", authority("bb", uid="c2") | {"status": {}})
    assert not cluster.looked_at()
    cluster.certificates.observed("MODIFIED", authority("bb", uid="c2"))
    assert cluster.looked_at()


def test_a_renewed_ca_keeps_what_it_has_signed() -> None:
    """Another certificate of the same key is no other issuer."""
    cluster = Cluster()
    for what in (POLICY, CA, LEAF):
        cluster.see(what)
    renewed = authority("aa")
    renewed["metadata"]["resourceVersion"] = "8"
    renewed["status"]["certificateId"] = "5b0b7a5e-7f0e-4b43-8f0c-0d3f0a3c7d11"
    cluster.certificates.observed("MODIFIED", renewed)
    assert not cluster.looked_at()


C1, C2, R1, R2 = (f"00000000-0000-4000-8000-0000000000{number:02}" for number in (11, 12, 21, 22))
LATER = "8"


def _renewed(body: dict[str, Any], own: str | None, *chain: str, version: str = "7") -> dict[str, Any]:
    """Give an object the id of its certificate and of those that stand above it, as its status names them."""
    body["metadata"]["resourceVersion"] = version
    body["status"]["issuer"] = {**body["status"].get("issuer", {}), "chain": list(chain)}
    if own is not None:
        body["status"]["certificateId"] = own
    return body


@pytest.mark.parametrize(
    "renewed", [(C2, R1), (C1, R2)], ids=["its CA has another certificate", "the CA above it has another certificate"]
)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_leaf_follows_a_chain_that_changed_while_nobody_looked(
    order: tuple[str, ...], renewed: tuple[str, str]
) -> None:
    """In whatever order the objects come at a start; it is taken in its turn, and only once."""
    cluster = Cluster()
    events = {
        POLICY: lambda: cluster.policies.observed(None, policy("ca")),
        CA: lambda: cluster.certificates.observed(None, _renewed(authority("aa"), *renewed)),
        LEAF: lambda: cluster.certificates.observed(None, _renewed(leaf(), None, C1, R1)),
    }
    for what in order:
        events[what]()
    assert set(cluster.queue._due) == {WEB}
    assert not cluster.looked_at()


def test_ten_thousand_leaves_follow_their_ca_evenly() -> None:
    """One after the other, twenty a second: no storm of writes when a CA is renewed."""
    cluster = Cluster()
    cluster.see(POLICY)
    cluster.certificates.observed(None, _renewed(authority("aa"), C1, R1))
    for number in range(10_000):
        body = _renewed(leaf(), None, C1, R1)
        body["metadata"] |= {"name": f"web-{number}", "uid": f"w{number}"}
        cluster.view.put(body)
    cluster.certificates.observed(None, _renewed(authority("aa"), C2, R1, version=LATER))
    due = sorted(moment for key, moment in cluster.queue._due.items() if key.namespace == "shop")
    assert len(due) == 10_000
    assert all(later - earlier == pytest.approx(0.05) for earlier, later in pairwise(due))


def test_a_policy_made_again_is_another_one() -> None:
    """Deleted and created while the watch was away: the generation is 1 again, the rules are others."""
    cluster = Cluster()
    for what in (POLICY, CA, LEAF):
        cluster.see(what)
    cluster.policies.observed(None, policy("other", uid="p2"))
    assert cluster.looked_at()


def test_the_late_end_of_an_old_policy_takes_nothing_from_the_new_one() -> None:
    """Its uid tells them apart."""
    cluster = Cluster()
    cluster.policies.observed(None, policy("ca", uid="p2"))
    cluster.policies.observed("DELETED", policy("ca", uid="p1"))
    assert cluster.view.policy("internal") is not None
    cluster.policies.observed("DELETED", policy("ca", uid="p2"))
    assert cluster.view.policy("internal") is None
