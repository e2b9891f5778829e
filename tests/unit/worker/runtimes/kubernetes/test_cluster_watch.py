"""One set of watches for the pools of a process, in a fake cluster."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from deployctl.clients.kubernetes import KubeClient, Listing
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT, OWNER
from deployctl.worker.model import JobChanged, JobsListed, RuntimeUpdate
from deployctl.worker.runtimes.kubernetes.cluster_watch import ClusterWatches
from deployctl.worker.runtimes.kubernetes.clusters import Clusters
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import RecordingEventLog
from tests.support.waiting import until
from tests.unit.worker.runtimes.kubernetes.objects import job
from tests.unit.worker.runtimes.kubernetes.test_informer_manager import FakeCluster, SilentWatch

TIMINGS = Timings(informer_interval=0.01)


def job_of(owner: str) -> Json:
    """A Job of the pool with this owner; the owner is its attempt, too."""
    made: Json = json.loads(json.dumps(job()))
    made["metadata"]["uid"] = f"uid-{owner}"
    made["metadata"]["resourceVersion"] = "2"
    made["metadata"]["labels"] |= {OWNER: owner, ATTEMPT: owner}
    return made


class EventWatch(SilentWatch):
    """A watch whose events a test provides."""

    def __init__(self, selector: str) -> None:
        super().__init__()
        self.selector = selector
        self.events: queue.Queue[bytes] = queue.Queue()

    def __iter__(self) -> Iterator[bytes]:
        while event := self.events.get():
            yield event

    def abort(self) -> None:
        self.events.put(b"")


class SharedCluster(FakeCluster):
    """A cluster with a Job of each of two pools; a selector is not evaluated."""

    def __init__(self) -> None:
        super().__init__("own")
        self.selectors: list[str] = []
        self.open: dict[str, EventWatch] = {}
        """The latest watch by kind."""

    def list_objects(self, path: str, selector: str, keep: Callable[[Json], Any]) -> Listing:
        if not path.endswith("jobs"):
            return Listing([], "1")
        self.selectors.append(selector)
        return Listing([keep(job_of(owner)) for owner in ("one", "two") if owner in selector], "1")

    def watch(self, *which: object) -> SilentWatch:
        watch = EventWatch(str(which[1]))
        self.open[str(which[0]).rpartition("/")[2]] = watch
        return watch


class Pools:
    """The informers of several pools in one cluster."""

    def __init__(self) -> None:
        self.cluster = SharedCluster()
        self.received: dict[str, list[RuntimeUpdate]] = {}
        self._log = RecordingEventLog()
        self._clusters = Clusters(lambda _: cast(KubeClient, self.cluster), self._log)
        self._watches = ClusterWatches(self._log, clock=lambda: 1.0, namespaces=(), timings=TIMINGS)

    @contextmanager
    def serving(self, owner: str) -> Iterator[InformerManager]:
        received = self.received.setdefault(owner, [])
        stop = CancellationToken()
        manager = InformerManager(
            self._clusters,
            f"{OWNER}={owner}",
            self._log,
            clock=lambda: 1.0,
            timings=TIMINGS,
            namespaces=(),
            pod_events=False,
            watches=self._watches,
            owner=owner,
        )
        thread = threading.Thread(target=manager.run, args=(received.append, stop))
        thread.start()
        try:
            yield manager
        finally:
            stop.cancel()
            thread.join()

    def listed(self, owner: str) -> list[str]:
        """The attempts that were listed to a pool, without repetitions."""
        lists = [each for each in self.received[owner] if isinstance(each, JobsListed)]
        return sorted({job.attempt for each in lists for job in each.jobs})

    def changed(self, owner: str) -> list[str]:
        """The attempts of the changes that a pool received."""
        return [each.job.attempt for each in self.received[owner] if isinstance(each, JobChanged)]

    def await_listed(self, owner: str) -> None:
        until(lambda: self.listed(owner) == [owner], lambda: str(self.received))


def await_contact(manager: InformerManager) -> None:
    until(lambda: all(status.last_contact for status in manager.watch_statuses()))


def test_pools_share_one_watch_and_each_receives_its_own_jobs() -> None:
    pools = Pools()
    with pools.serving("one") as one:
        pools.await_listed("one")
        assert pools.cluster.selectors == [f"{OWNER}=one"]
        with pools.serving("two") as two:
            pools.await_listed("two")
            assert pools.cluster.selectors[-1] == f"{OWNER} in (one,two),{ATTEMPT}"
            await_contact(one)
            await_contact(two)
            until(lambda: pools.cluster.open["jobs"].selector == pools.cluster.selectors[-1])
            for name in ("two", "one"):
                changed = job_of(name)
                changed["status"] = {"ready": 1}
                event = json.dumps({"type": "MODIFIED", "object": changed}).encode()
                pools.cluster.open["jobs"].events.put(event)
            for name in ("one", "two"):
                until(partial(pools.changed, name))
                assert pools.changed(name) == [name]
        until(lambda: pools.cluster.selectors[-1] == f"{OWNER}=one")
        assert pools.listed("one") == ["one"]


def test_a_pool_that_is_added_has_not_synced_before_its_own_jobs_are_listed() -> None:
    pools, hold = Pools(), threading.Event()
    with pools.serving("one") as one:
        pools.await_listed("one")
        await_contact(one)
        list_objects = pools.cluster.list_objects

        def held(path: str, selector: str, keep: Callable[[Json], Any]) -> Listing:
            hold.wait(30.0)
            return list_objects(path, selector, keep)

        pools.cluster.list_objects = held  # type: ignore[method-assign]
        with pools.serving("two") as two:
            until(lambda: [s.problem for s in two.watch_statuses()] == ["not listed yet"])
            assert all(status.last_contact for status in one.watch_statuses())
            assert [status.last_contact for status in two.watch_statuses()] == [0.0]
            hold.set()
            await_contact(two)
