"""The store of jobs merges the events of two watches, in any order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deployctl.jobs.model import Limits
from deployctl.worker.model import (
    Cause,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Phase,
    RuntimeUpdate,
)
from deployctl.worker.runtimes.kubernetes.job_store import JobStore
from deployctl.worker.runtimes.kubernetes.reflector import ALL_NAMESPACES, WatchedKind
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, combine

NOW = 100.0
"""The clusters' time."""


def job(attempt: str = "a", namespace: str = "ns", **changes: Any) -> JobStatus:
    status = JobStatus(
        f"job-{attempt}", namespace, f"uid-{attempt}", "run", attempt, "w", Limits(), 1.0
    )
    return replace(status, **changes)


def pod(attempt: str = "a", phase: Phase = Phase.RUNNING, **changes: Any) -> PodStatus:
    status = PodStatus(f"pod-{attempt}", "ns", f"pod-uid-{attempt}", attempt, phase, 2.0)
    return replace(status, **changes)


def new_store(*scopes: str) -> JobStore:
    """An empty store in which both kinds of these scopes are listed."""
    store = JobStore(str, lambda namespace, name: f"{namespace}:{name}", clock=lambda: NOW)
    for scope in scopes:
        store.replace_jobs(scope, [], 0.0)
        store.replace_pods(scope, [])
    return store


def replay(updates: Iterable[RuntimeUpdate]) -> dict[str, Job]:
    """The jobs of a consumer that has applied all updates."""
    table: dict[str, Job] = {}
    for each in updates:
        match each:
            case JobChanged(changed):
                table[changed.attempt] = changed
            case JobVanished(attempt):
                table.pop(attempt, None)
            case JobsListed(location, jobs, _):
                table = {a: j for a, j in table.items() if j.location != location}
                table |= {j.attempt: j for j in jobs}
    return table


def test_times_are_by_the_servers_clock() -> None:
    ahead = 600.0
    store = JobStore(str, lambda namespace, name: f"{namespace}:{name}", lambda: ahead)
    store.replace_pods("ns", [pod()])
    (update,) = store.replace_jobs("ns", [job()], 0.0)
    assert isinstance(update, JobsListed)
    assert [each.since for each in update.jobs] == [2.0 + ahead]


def test_emits_nothing_before_both_kinds_are_listed() -> None:
    store = new_store()
    assert store.replace_pods("ns", [pod()]) == []
    assert store.upsert_job(job()) == []
    (update,) = store.replace_jobs("ns", [job()], 0.0)
    assert isinstance(update, JobsListed)
    assert [each.phase for each in update.jobs] == [Phase.RUNNING]


def test_list_of_all_namespaces_is_emitted_per_namespace() -> None:
    store = new_store()
    store.namespaces.add("own")
    store.replace_pods(ALL_NAMESPACES, [])
    updates = store.replace_jobs(ALL_NAMESPACES, [job("a", "one"), job("b", "two")], 0.0)
    counts = {each.location: len(each.jobs) for each in updates if isinstance(each, JobsListed)}
    assert counts == {"own": 0, "one": 1, "two": 1}
    again = store.replace_jobs(ALL_NAMESPACES, [], 0.0)
    assert {each.location for each in again if isinstance(each, JobsListed)} == {
        "own",
        "one",
        "two",
    }
    assert replay([*updates, *again]) == {}


def test_added_namespace_is_emitted_at_once_if_synced() -> None:
    assert new_store(ALL_NAMESPACES).add_namespace("new") == [JobsListed("new", (), 0.0)]
    assert new_store("other").add_namespace("new") == []


def test_list_of_one_namespace_does_not_affect_others() -> None:
    store = new_store("one", "two")
    updates = [*store.upsert_job(job("a", "one")), *store.upsert_job(job("b", "two"))]
    assert set(replay([*updates, *store.replace_jobs("one", [], 0.0)])) == {"b"}


def test_relisting_pods_emits_no_list_of_jobs() -> None:
    """The watch of jobs may be late: a worker would regard its newest jobs as deleted."""
    store = new_store("ns")
    (before,) = store.upsert_job(job())
    (update,) = store.replace_pods("ns", [pod()])
    assert isinstance(before, JobChanged)
    assert isinstance(update, JobChanged)
    assert (before.job.phase, update.job.phase) == (Phase.WAITING, Phase.RUNNING)


def test_unchanged_job_is_not_emitted_again() -> None:
    store = new_store("ns")
    assert len(store.upsert_job(job())) == 1
    assert store.upsert_job(job()) == []


def test_pod_status_is_kept_as_long_as_its_job() -> None:
    cause = Cause("OOMKilled", "it ran out of memory")
    store = new_store("ns")
    store.upsert_job(job())
    store.upsert_pod(pod(phase=Phase.FAILED, cause=cause))
    store.delete_pod(pod(phase=Phase.FAILED, cause=cause))
    ended = job(phase=Phase.FAILED, since=3.0, cause=Cause("BackoffLimitExceeded", "a pod failed"))
    (update,) = store.upsert_job(ended)
    assert isinstance(update, JobChanged)
    assert update.job.cause == cause


def test_deleted_pod_does_not_run() -> None:
    store = new_store("ns")
    store.upsert_job(job())
    store.upsert_pod(pod())
    assert replay(store.delete_pod(pod()))["a"].phase is Phase.WAITING


def test_a_deletion_does_not_hang_as_soon_as_its_pod_is_gone() -> None:
    """The API server moves the end of the grace period back to the request when a pod is removed,
    before the finalizer of the Job controller lets it go."""
    grace, deleted_at = 30.0, NOW - 30.0
    store = new_store("ns")
    updates = store.upsert_job(job(deleting=True, deleted_at=deleted_at))
    for ends_at, update in (
        (NOW + 5, store.upsert_pod),
        (deleted_at, store.upsert_pod),
        (deleted_at, store.delete_pod),
    ):
        updates += update(pod(ends_at=ends_at))
        known = replay(updates)["a"]
        grace_ends = max(NOW, ends_at) + grace
        assert not known.deletion_hangs(grace_ends - 1, grace)
        assert known.deletion_hangs(grace_ends, grace)


def test_deletion_of_an_older_job_of_the_same_attempt_is_ignored() -> None:
    store = new_store("ns")
    store.upsert_job(job(uid="new"))
    assert store.delete_job(job(uid="old")) == []


def test_events_explain_a_wait_until_it_ends() -> None:
    cause = Cause("Quota", "the quota is used up")
    store = new_store("ns")
    store.upsert_job(job())
    assert [each.attempt for each, _ in store.unexplained(before=1.0)] == ["a"]
    assert list(store.unexplained(before=0.5)) == []
    assert replay(store.set_event_cause("a", cause))["a"].cause == cause
    assert store.set_event_cause("a", cause) == []
    assert replay(store.upsert_pod(pod()))["a"].cause is None
    assert list(store.unexplained(before=9.0)) == []


def test_only_pods_of_jobs_with_stream_output_are_streamed() -> None:
    store = new_store("ns")
    for attempt, stream in (("loud", True), ("quiet", False), ("early", True)):
        store.upsert_job(job(attempt, limits=Limits(stream_output=stream)))
        store.upsert_pod(pod(attempt, Phase.WAITING if attempt == "early" else Phase.RUNNING))
    assert [each.attempt for each in store.pods_to_stream()] == ["loud"]


EVENTS: dict[WatchedKind, list[tuple[str, Any]]] = {
    WatchedKind.JOBS: [
        ("upsert_job", job()),
        ("upsert_job", job(deleting=True)),
        ("delete_job", job()),
    ],
    WatchedKind.PODS: [
        ("upsert_pod", pod(phase=Phase.WAITING)),
        ("upsert_pod", pod()),
        ("upsert_pod", pod(phase=Phase.FAILED)),
        ("delete_pod", pod(phase=Phase.FAILED)),
    ],
}


@given(
    st.lists(st.sampled_from(list(WatchedKind)), max_size=7),
    st.integers(0, 3),
    st.integers(0, 4),
)
def test_final_state_does_not_depend_on_order_between_watches(
    order: list[WatchedKind], jobs: int, pods: int
) -> None:
    left = {
        WatchedKind.JOBS: EVENTS[WatchedKind.JOBS][:jobs],
        WatchedKind.PODS: EVENTS[WatchedKind.PODS][:pods],
    }
    store, reference = new_store("ns"), new_store("ns")
    updates: list[RuntimeUpdate] = []
    # A pod that was deleted before its Job was received is forgotten.
    first = [WatchedKind.JOBS] if pods == len(EVENTS[WatchedKind.PODS]) else []
    for kind in [*first, *order, *[WatchedKind.JOBS] * 3, *[WatchedKind.PODS] * 4]:
        if left[kind]:
            name, status = left[kind].pop(0)
            updates += getattr(store, name)(status)
    expected = [
        update
        for kind, count in ((WatchedKind.JOBS, jobs), (WatchedKind.PODS, pods))
        for name, status in EVENTS[kind][:count]
        for update in getattr(reference, name)(status)
    ]
    assert replay(updates) == replay(expected)


@given(st.permutations(["delete_job", "delete_pod"]), st.integers(1, 50))
def test_nothing_is_kept_of_deleted_jobs(ends: list[str], count: int) -> None:
    """Guarantee 18: memory is bounded by what lives."""
    store = new_store("ns")
    for number in range(count):
        attempt = str(number)
        store.upsert_job(job(attempt))
        store.upsert_pod(pod(attempt))
        store.set_event_cause(attempt, Cause("Quota", "the quota is used up"))
        for end in ends:
            getattr(store, end)(job(attempt) if end == "delete_job" else pod(attempt))
    assert [store._jobs, store._pods, store._emitted, store._event_causes] == [{}, {}, {}, {}]


def test_job_combines_job_and_pod_status() -> None:
    store = new_store("ns")
    updates = [*store.upsert_job(job()), *store.upsert_pod(pod())]
    assert replay(updates)["a"] == combine(job(), [pod()], location="ns", pid="ns:job-a")
