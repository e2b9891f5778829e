from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metrics import CountingEventLog, Metrics, Sample
from deployctl.worker.model import Phase, WatchStatus

CLOCK, NOW = 1000.0, 2000.0


class Silent:
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def emit(self, level: Level, event: str, message: str = "", **facts: object) -> None:
        self.told.append((level, event, message, facts))


def metrics_of(monitor: HealthMonitor | None = None) -> Metrics:
    return Metrics(monitor or HealthMonitor(lambda: CLOCK), lambda: NOW)


def shown(metrics: Metrics, name: str) -> dict[str, float]:
    """The values of one metric, by its labels in the order of their names."""
    return {
        ",".join(text for _, text in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == name
    }


def test_the_journal_counts_what_happens_to_runs_and_passes_everything_on() -> None:
    metrics, behind = metrics_of(), Silent()
    event_log = CountingEventLog(behind, metrics)
    event_log.emit(Level.INFO, EventName.RUN_CLAIMED, "claimed", run="a")
    event_log.emit(Level.INFO, EventName.RUN_CLAIMED, "claimed", run="b")
    event_log.emit(Level.ERROR, EventName.RUN_CRASHED, "it died", run="a", cause="OutOfMemory")
    event_log.emit(Level.DEBUG, EventName.POOL_READY, "")
    assert shown(metrics, "deployctl_worker_runs_total") == {
        ",claimed": 2,
        "OutOfMemory,crashed": 1,
    }
    assert behind.told[2:] == [
        (Level.ERROR, EventName.RUN_CRASHED, "it died", {"run": "a", "cause": "OutOfMemory"}),
        (Level.DEBUG, EventName.POOL_READY, "", {}),
    ]


def test_errors_are_counted_by_kind() -> None:
    metrics = metrics_of()
    for kind in ("Unreachable", "Unauthorized", "Unreachable"):
        metrics.failed(kind)
    assert shown(metrics, "deployctl_worker_errors_total") == {"Unreachable": 2, "Unauthorized": 1}


def test_sizes_are_those_of_the_last_sample() -> None:
    metrics = metrics_of()
    metrics.sample = Sample(jobs={Phase.RUNNING: 9})
    metrics.sample = Sample({Phase.RUNNING: 2}, due=3, claims=4, queue=5, is_leader=True)
    assert shown(metrics, "deployctl_worker_jobs") == {
        "waiting": 0,
        "running": 2,
        "succeeded": 0,
        "failed": 0,
    }
    values = {"due_runs": 3, "claims": 4, "queue": 5, "leader": 1}
    for name, value in values.items():
        assert shown(metrics, f"deployctl_worker_{name}") == {"": value}


def test_ages_and_faults_are_those_of_the_moment() -> None:
    clock = [CLOCK]
    monitor = HealthMonitor(lambda: clock[0])
    metrics = metrics_of(monitor)
    monitor.beat("poll", 10)
    metrics.sample = Sample(
        watches=(WatchStatus("jobs", NOW - 7), WatchStatus("other", 0.0, "not yet"))
    )
    assert shown(metrics, "deployctl_worker_watch_age_seconds") == {"jobs": 7}
    assert shown(metrics, "deployctl_worker_ready") == {"": 1}
    clock[0] += 500
    monitor.fault("api", "down")
    assert shown(metrics, "deployctl_worker_loop_age_seconds") == {"poll": 500}
    assert shown(metrics, "deployctl_worker_fault") == {"api": 1}
    assert shown(metrics, "deployctl_worker_ready") == {"": 0}
    assert shown(metrics, "deployctl_worker_up") == {"": 0}


def test_the_memory_of_the_process_is_shown() -> None:
    assert shown(metrics_of(), "process_resident_memory_bytes")[""] > 1_000_000
