"""What two streams say of jobs, in whatever order it comes."""

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
from deployctl.worker.runtimes.kubernetes.job_store import ALL_NAMESPACES, JobStore, WatchedKind
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, combine


def job(attempt: str = "a", namespace: str = "ns", **changes: Any) -> JobStatus:
    facts = JobStatus(
        f"job-{attempt}", namespace, f"uid-{attempt}", "run", attempt, "w", Limits(), 1.0
    )
    return replace(facts, **changes)


def pod(attempt: str = "a", phase: Phase = Phase.RUNNING, **changes: Any) -> PodStatus:
    facts = PodStatus(f"pod-{attempt}", "ns", f"pod-uid-{attempt}", attempt, phase, 2.0)
    return replace(facts, **changes)


def picture(*scopes: str) -> JobStore:
    """An empty picture; of these scopes both kinds are listed."""
    made = JobStore(str, lambda namespace, name: f"{namespace}:{name}")
    for scope in scopes:
        made.jobs_listed(scope, [], 0.0)
        made.pods_listed(scope, [])
    return made


def known(news: Iterable[RuntimeUpdate]) -> dict[str, Job]:
    """What a table that is told the news holds in the end."""
    table: dict[str, Job] = {}
    for each in news:
        match each:
            case JobChanged(changed):
                table[changed.attempt] = changed
            case JobVanished(attempt):
                table.pop(attempt, None)
            case JobsListed(location, jobs, _):
                table = {a: j for a, j in table.items() if j.location != location}
                table |= {j.attempt: j for j in jobs}
    return table


def test_times_are_those_of_the_server() -> None:
    ahead = 600.0
    made = JobStore(str, lambda namespace, name: f"{namespace}:{name}", lambda: ahead)
    made.pods_listed("ns", [pod()])
    (news,) = made.jobs_listed("ns", [job()], 0.0)
    assert isinstance(news, JobsListed)
    assert [each.since for each in news.jobs] == [2.0 + ahead]


def test_nothing_is_told_before_both_kinds_are_listed() -> None:
    made = picture()
    assert made.pods_listed("ns", [pod()]) == []
    assert made.job_seen(job()) == []
    (news,) = made.jobs_listed("ns", [job()], 0.0)
    assert isinstance(news, JobsListed)
    assert [each.phase for each in news.jobs] == [Phase.RUNNING]


def test_a_list_of_everything_is_told_for_each_namespace_that_matters() -> None:
    made = picture()
    made.namespaces.add("own")
    made.pods_listed(ALL_NAMESPACES, [])
    news = made.jobs_listed(ALL_NAMESPACES, [job("a", "one"), job("b", "two")], 0.0)
    told = {each.location: len(each.jobs) for each in news if isinstance(each, JobsListed)}
    assert told == {"own": 0, "one": 1, "two": 1}
    again = made.jobs_listed(ALL_NAMESPACES, [], 0.0)
    assert {each.location for each in again if isinstance(each, JobsListed)} == {
        "own",
        "one",
        "two",
    }
    assert known([*news, *again]) == {}


def test_a_namespace_that_is_listed_already_is_told_when_it_is_added() -> None:
    assert picture(ALL_NAMESPACES).add("new") == [JobsListed("new", (), 0.0)]
    assert picture("other").add("new") == []


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    made = picture("one", "two")
    news = [*made.job_seen(job("a", "one")), *made.job_seen(job("b", "two"))]
    assert set(known([*news, *made.jobs_listed("one", [], 0.0)])) == {"b"}


def test_pods_that_are_listed_again_do_not_tell_which_jobs_there_are() -> None:
    """The watch of jobs may be late: a worker would take its newest jobs for gone."""
    made = picture("ns")
    (before,) = made.job_seen(job())
    (news,) = made.pods_listed("ns", [pod()])
    assert isinstance(before, JobChanged)
    assert isinstance(news, JobChanged)
    assert (before.job.phase, news.job.phase) == (Phase.WAITING, Phase.RUNNING)


def test_what_changes_nothing_is_not_told_again() -> None:
    made = picture("ns")
    assert len(made.job_seen(job())) == 1
    assert made.job_seen(job()) == []


def test_the_end_of_a_pod_is_known_as_long_as_its_job_is_there() -> None:
    cause = Cause("OOMKilled", "It had too little memory")
    made = picture("ns")
    made.job_seen(job())
    made.pod_seen(pod(phase=Phase.FAILED, cause=cause))
    made.pod_gone(pod(phase=Phase.FAILED, cause=cause))
    ended = job(phase=Phase.FAILED, since=3.0, cause=Cause("BackoffLimitExceeded", "A pod failed"))
    (news,) = made.job_seen(ended)
    assert isinstance(news, JobChanged)
    assert news.job.cause == cause


def test_a_pod_that_is_gone_does_not_run() -> None:
    made = picture("ns")
    made.job_seen(job())
    made.pod_seen(pod())
    assert known(made.pod_gone(pod()))["a"].phase is Phase.WAITING


def test_the_end_of_an_older_job_of_the_same_attempt_is_no_news() -> None:
    made = picture("ns")
    made.job_seen(job(uid="new"))
    assert made.job_gone(job(uid="old")) == []


def test_events_explain_a_wait_until_it_is_over() -> None:
    cause = Cause("Quota", "There is no room")
    made = picture("ns")
    made.job_seen(job())
    assert [each.attempt for each, _ in made.puzzling(before=1.0)] == ["a"]
    assert list(made.puzzling(before=0.5)) == []
    assert known(made.explained("a", cause))["a"].cause == cause
    assert made.explained("a", cause) == []
    assert known(made.pod_seen(pod()))["a"].cause is None
    assert list(made.puzzling(before=9.0)) == []


def test_only_jobs_that_ask_for_it_are_streamed() -> None:
    made = picture("ns")
    for attempt, stream in (("loud", True), ("quiet", False), ("early", True)):
        made.job_seen(job(attempt, limits=Limits(stream_output=stream)))
        made.pod_seen(pod(attempt, Phase.WAITING if attempt == "early" else Phase.RUNNING))
    assert [each.attempt for each in made.streaming()] == ["loud"]


STORY: dict[WatchedKind, list[tuple[str, Any]]] = {
    WatchedKind.JOBS: [("job_seen", job()), ("job_seen", job(deleting=True)), ("job_gone", job())],
    WatchedKind.PODS: [
        ("pod_seen", pod(phase=Phase.WAITING)),
        ("pod_seen", pod()),
        ("pod_seen", pod(phase=Phase.FAILED)),
        ("pod_gone", pod(phase=Phase.FAILED)),
    ],
}


@given(
    st.lists(st.sampled_from(list(WatchedKind)), max_size=7),
    st.integers(0, 3),
    st.integers(0, 4),
)
def test_the_order_between_the_streams_does_not_matter_in_the_end(
    turns: list[WatchedKind], jobs: int, pods: int
) -> None:
    left = {
        WatchedKind.JOBS: STORY[WatchedKind.JOBS][:jobs],
        WatchedKind.PODS: STORY[WatchedKind.PODS][:pods],
    }
    made, straight = picture("ns"), picture("ns")
    told: list[RuntimeUpdate] = []
    # A pod that came and went before its Job was heard of is forgotten.
    first = [WatchedKind.JOBS] if pods == len(STORY[WatchedKind.PODS]) else []
    for kind in [*first, *turns, *[WatchedKind.JOBS] * 3, *[WatchedKind.PODS] * 4]:
        if left[kind]:
            name, facts = left[kind].pop(0)
            told += getattr(made, name)(facts)
    calm = [
        news
        for kind, count in ((WatchedKind.JOBS, jobs), (WatchedKind.PODS, pods))
        for name, facts in STORY[kind][:count]
        for news in getattr(straight, name)(facts)
    ]
    assert known(told) == known(calm)


@given(st.permutations(["job_gone", "pod_gone"]), st.integers(1, 50))
def test_nothing_is_kept_of_jobs_that_are_gone(ends: list[str], count: int) -> None:
    """Guarantee 18: memory is bounded by what lives."""
    made = picture("ns")
    for number in range(count):
        attempt = str(number)
        made.job_seen(job(attempt))
        made.pod_seen(pod(attempt))
        made.explained(attempt, Cause("Quota", "There is no room"))
        for end in ends:
            getattr(made, end)(job(attempt) if end == "job_gone" else pod(attempt))
    assert [made._jobs, made._pods, made._told, made._events] == [{}, {}, {}, {}]


def test_a_job_is_what_its_facts_combine_to() -> None:
    made = picture("ns")
    news = [*made.job_seen(job()), *made.pod_seen(pod())]
    assert known(news)["a"] == combine(job(), [pod()], location="ns", pid="ns:job-a")
