"""The controller's events and its queue, without a cluster: what is looked at, and how often."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry

from clm.controllers.certificates import CertificateController
from clm.controllers.metrics import Metrics
from clm.controllers.queue import WorkQueue
from clm.lifecycle.repair_pace import RepairPace
from clm.lifecycle.results import Done, Result
from clm.lifecycle.spread import Spread
from clm.lifecycle.view import ClusterView, Key

if TYPE_CHECKING:
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.reconcile import Reconciler
    from clm.lifecycle.settled import Settled

KEY = Key("shop", "web")


def body(version: int, *, ready: bool = True) -> dict[str, Any]:
    """Make a Certificate object as an event brings it."""
    return {
        "metadata": {
            "namespace": KEY.namespace,
            "name": KEY.name,
            "uid": "1",
            "generation": 1,
            "resourceVersion": str(version),
        },
        "spec": {"policyRef": {"name": "internal"}, "secretName": "web-tls"},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class FoughtOver:
    """A reconciler whose every repair is undone before anybody looks: somebody else keeps writing the Secret."""

    def __init__(self) -> None:
        """Start with no repair made."""
        self.repairs: list[float] = []
        self.clock = 0.0
        self.version = 1
        self.controller: CertificateController | None = None

    def quiet_for_s(self, _key: Key, _entry: Entry) -> float | None:
        """The Secret is never as it was left."""
        return None

    def secret_stands(self, _key: Key, _entry: Entry) -> bool:
        """The Secret is never as it was left."""
        return False

    def now(self) -> float:
        """No renewal is due."""
        return 0.0

    async def reconcile(self, _key: Key, *, thorough: bool) -> Result:
        """Repair; the event of our own status comes while the Secret is already changed again."""
        assert not thorough
        assert self.controller is not None
        self.repairs.append(self.clock)
        self.version += 1
        self.controller.observed("MODIFIED", body(self.version))
        self.controller.secret_changed(KEY.namespace, "web-tls")
        return Done()


def test_a_duel_over_a_secret_stays_slow_whatever_events_it_makes() -> None:
    """Not only the pace: no event of the fight, our own included, gets a repair done before its time."""
    fought = FoughtOver()
    view = ClusterView()
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: fought.clock)
    controller = CertificateController(
        view=view,
        queue=queue,
        reconciler=cast("Reconciler", fought),
        settled=cast("Settled", fought),
        metrics=Metrics(CollectorRegistry()),
        pace=RepairPace(clock=lambda: fought.clock),
        spread=Spread(per_second=20, clock=lambda: fought.clock),
        issuer_changed=lambda _: None,
        clock=lambda: fought.clock,
    )
    fought.controller = controller

    async def an_hour() -> None:
        view.put(body(1))
        workers = asyncio.create_task(controller.run(workers=2))
        controller.secret_changed(KEY.namespace, "web-tls")
        while fought.clock < 3600:
            for _ in range(20):
                await asyncio.sleep(0)
            wait_s = queue.move_due()
            controller.secret_changed(KEY.namespace, "web-tls")
            fought.clock += min(wait_s or 1.0, 1.0)
        workers.cancel()
        await asyncio.gather(workers, return_exceptions=True)

    asyncio.run(an_hour())
    assert 1 <= len(fought.repairs) <= 4


def test_what_was_deleted_while_nobody_watched_is_forgotten_by_the_sweep() -> None:
    """A list of what stands is enough; what came after the list was asked for stays."""

    class Listing:
        async def list_metadata(self, _path: str) -> tuple[list[dict[str, Any]], str]:
            late = body(9)
            late["metadata"] |= {"name": "late", "uid": "9"}
            view.put(late)
            return [], "10"

    view = ClusterView()
    fought = FoughtOver()
    controller = CertificateController(
        view=view,
        queue=WorkQueue(clock=lambda: 0.0),
        reconciler=cast("Reconciler", fought),
        settled=cast("Settled", fought),
        metrics=Metrics(CollectorRegistry()),
        pace=RepairPace(clock=lambda: 0.0),
        spread=Spread(per_second=20, clock=lambda: 0.0),
        issuer_changed=lambda _: None,
        clock=lambda: 0.0,
    )

    async def one_sweep() -> None:
        view.put(body(1))
        sweep = asyncio.create_task(controller.run_sweep(cast("Any", Listing()), interval_s=0))
        for _ in range(10):
            await asyncio.sleep(0)
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)

    asyncio.run(one_sweep())
    assert view.get(KEY) is None


class Quiet(FoughtOver):
    """A reconciler for which nothing is as it should be, and that does nothing."""


def _claim(name: str, *, created: str, secret_name: str = "web-tls", version: int = 1) -> dict[str, Any]:
    claimed = body(version, ready=False)
    claimed["metadata"] |= {"name": name, "uid": name, "creationTimestamp": created, "generation": version}
    claimed["spec"]["secretName"] = secret_name
    return claimed


def test_the_name_of_a_secret_passes_to_the_next_oldest_and_wakes_it() -> None:
    """By creationTimestamp, then by name; an owner that goes, or takes another name, is followed by those who wait."""
    view, queue = ClusterView(), cast("WorkQueue[Key]", WorkQueue(clock=lambda: 0.0))
    controller = CertificateController(
        view=view,
        queue=queue,
        reconciler=cast("Reconciler", Quiet()),
        settled=cast("Settled", Quiet()),
        metrics=Metrics(CollectorRegistry()),
        pace=RepairPace(clock=lambda: 0.0),
        spread=Spread(per_second=20, clock=lambda: 0.0),
        issuer_changed=lambda _: None,
        clock=lambda: 0.0,
    )

    def owner() -> str:
        found = view.secret_owner(KEY.namespace, "web-tls")
        assert found is not None
        return found.name

    def woken() -> set[str]:
        names = {key.name for key in queue._waiting}
        queue._waiting.clear()
        queue._ready.clear()
        return names

    controller.observed("ADDED", _claim("c", created="2026-11-24T12:00:00Z"))
    assert owner() == "c"
    controller.observed("ADDED", _claim("b", created="2026-11-24T11:00:00Z"))
    assert owner() == "b"
    assert woken() == {"b", "c"}
    controller.observed("ADDED", _claim("a", created="2026-11-24T11:00:00Z"))
    assert owner() == "a"
    controller.observed("MODIFIED", _claim("a", created="2026-11-24T11:00:00Z", secret_name="other", version=2))
    assert owner() == "b"
    assert woken() == {"a", "b", "c"}
    controller.observed("DELETED", _claim("b", created="2026-11-24T11:00:00Z"))
    assert owner() == "c"
    assert woken() == {"c"}


class Standing:
    """A reconciler that finds every Secret as it was left, and something else that is not as it should be."""

    def __init__(self) -> None:
        """Start with no look."""
        self.looks: list[bool] = []

    def quiet_for_s(self, _key: Key, _entry: Entry) -> float | None:
        """It asks for something that it cannot have."""
        return None

    def secret_stands(self, _key: Key, _entry: Entry) -> bool:
        """Nobody has touched it."""
        return True

    def now(self) -> float:
        """Long after whatever was asked for."""
        return 2e9

    async def reconcile(self, _key: Key, *, thorough: bool) -> Result:
        """Find that it cannot be had."""
        self.looks.append(thorough)
        return Done()


def _held(*, hold: str | None = "QuotaExceeded") -> dict[str, Any]:
    held = body(1)
    if hold is not None:
        held["status"]["conditions"] += [{"type": "Issuing", "status": "True", "reason": hold}]
    return held


def _policy(generation: int) -> dict[str, Any]:
    metadata = {"name": "internal", "uid": "p", "generation": generation}
    return {"metadata": metadata, "spec": {"issuer": {"selfSigned": {}}}}


class Watched:
    """A controller over a reconciler, with workers, for as long as it takes to come to rest."""

    def __init__(self, reconciler: Standing) -> None:
        """Wire them."""
        self.view, self.pace = ClusterView(), RepairPace[Key](clock=lambda: 0.0)
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: 0.0)
        self.controller = CertificateController(
            view=self.view,
            queue=self.queue,
            reconciler=cast("Reconciler", reconciler),
            settled=cast("Settled", reconciler),
            metrics=Metrics(CollectorRegistry()),
            pace=self.pace,
            spread=Spread(per_second=20, clock=lambda: 0.0),
            issuer_changed=lambda _: None,
            clock=lambda: 0.0,
        )

    async def rest(self) -> None:
        """Work on all that is queued for now."""
        workers = asyncio.create_task(self.controller.run(workers=1))
        for _ in range(50):
            await asyncio.sleep(0)
        workers.cancel()
        await asyncio.gather(workers, return_exceptions=True)


def test_what_waits_for_a_quota_is_looked_at_once_and_is_no_broken_secret() -> None:
    """An event has it looked at, and then nothing does: no repair is counted, and no look is planned."""
    reconciler = Standing()
    watched = Watched(reconciler)
    watched.controller.observed("ADDED", _held())
    watched.controller.secret_changed(KEY.namespace, "web-tls")
    asyncio.run(watched.rest())
    assert reconciler.looks == [False]
    assert watched.pace.repairs(KEY) == 0
    assert watched.queue._due == {}


def test_what_nothing_keeps_waiting_is_tried_again_and_is_no_broken_secret() -> None:
    """What came while it was worked on, such as another CA, has its back-off, and not the pace of repairs."""
    reconciler = Standing()
    watched = Watched(reconciler)
    watched.controller.observed("ADDED", _held(hold=None))
    asyncio.run(watched.rest())
    assert reconciler.looks == [False]
    assert watched.pace.repairs(KEY) == 0
    assert list(watched.queue._due) == [KEY]


def test_a_policy_that_changes_wakes_what_waits_for_its_quota() -> None:
    """Looked at closely, since by its status nothing is due. What stands is left alone."""
    for hold, looks in ((None, []), ("QuotaExceeded", [True])):
        reconciler = Standing()
        watched = Watched(reconciler)
        watched.view.put(_held(hold=hold))
        watched.controller.policy_changed("internal")
        asyncio.run(watched.rest())
        assert reconciler.looks == [], "its Policy is gone"
        watched.view.put_policy(_policy(1))
        for entry in watched.view.items():
            entry[1].issuer_name = str(KEY)
        watched.controller.policy_changed("internal")
        asyncio.run(watched.rest())
        assert reconciler.looks == looks
