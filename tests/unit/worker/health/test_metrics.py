from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployctl.core import redact
from deployctl.core.errors import Unauthorized, Unreachable
from deployctl.worker.error_kinds import error_kind, log_internal_error
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import HealthMonitor, Loop
from deployctl.worker.health.metric_names import Target
from deployctl.worker.health.metrics import MeteredEventLog, Metrics, Sample
from deployctl.worker.model import Phase, WatchStatus

CLOCK, NOW = 1000.0, 2000.0


class RecordedEvents:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def emit(self, level: Level, event: str, message: str = "", **fields: object) -> None:
        self.events.append((level, event, message, fields))


def metrics_of(monitor: HealthMonitor | None = None) -> Metrics:
    return Metrics(monitor or HealthMonitor(lambda: CLOCK))


def exporter_of(**pools: Metrics) -> Exporter:
    exporter = Exporter(lambda: NOW)
    exporter.pools = pools
    return exporter


def shown(metrics: Metrics | Exporter, name: str) -> dict[str, float]:
    """The values of one metric, by its labels in the order of their names.

    The label of the pool is left out if there is only one.
    """
    several = isinstance(metrics, Exporter)
    exporter = metrics if isinstance(metrics, Exporter) else exporter_of(team=metrics)
    return {
        ",".join(
            text for label, text in sorted(sample.labels.items()) if several or label != "pool"
        ): sample.value
        for family in text_string_to_metric_families(exporter.text().decode())
        for sample in family.samples
        if sample.name == name
    }


def test_counts_events_of_runs_and_passes_all_events_on() -> None:
    metrics, recorded = metrics_of(), RecordedEvents()
    event_log = MeteredEventLog(recorded, metrics)
    event_log.emit(Level.INFO, EventName.RUN_CLAIMED, "claimed", run="a")
    event_log.emit(Level.INFO, EventName.RUN_CLAIMED, "claimed", run="b")
    event_log.emit(Level.ERROR, EventName.RUN_CRASHED, "it died", run="a", cause="OutOfMemory")
    event_log.emit(Level.DEBUG, EventName.POOL_READY, "")
    assert shown(metrics, "deployctl_worker_runs_total") == {
        ",claimed": 2,
        "OutOfMemory,crashed": 1,
    }
    assert recorded.events[2:] == [
        (Level.ERROR, EventName.RUN_CRASHED, "it died", {"run": "a", "cause": "OutOfMemory"}),
        (Level.DEBUG, EventName.POOL_READY, "", {}),
    ]


def test_errors_are_counted_by_kind() -> None:
    metrics = metrics_of()
    event_log = MeteredEventLog(RecordedEvents(), metrics)
    for error in (Unreachable("a"), Unauthorized("b"), Unreachable("c")):
        kind = error_kind(error)
        event_log.emit(Level.WARNING, EventName.LOOP_FAILED, str(error), error=kind)
    assert shown(metrics, "deployctl_worker_errors_total") == {
        "api_unreachable": 2,
        "api_unauthorized": 1,
    }
    assert shown(metrics, "deployctl_worker_internal_errors_total") == {"": 0}


def a_defect() -> Exception:
    """An exception with a traceback, and with a secret in its message."""
    try:
        raise ZeroDivisionError("swordfish-8")
    except ZeroDivisionError as error:
        return error


def test_an_internal_error_is_counted_each_time_and_logged_with_its_traceback_once() -> None:
    redact.register_secrets(["swordfish-8"])
    metrics, recorded = metrics_of(), RecordedEvents()
    event_log = MeteredEventLog(recorded, metrics)
    for _ in range(3):
        log_internal_error(event_log, a_defect(), "the loop 'poll'")
    fields = [event[3] for event in recorded.events]
    assert isinstance(fields[0], dict)
    assert "in a_defect\n" in fields[0]["traceback"]
    assert "swordfish-8" not in fields[0]["traceback"]
    assert fields[1:] == [{"error": "internal"}] * 2
    assert {event[1] for event in recorded.events} == {EventName.WORKER_INTERNAL_ERROR}
    assert shown(metrics, "deployctl_worker_internal_errors_total") == {"": 3}


def test_gauges_show_the_last_sample() -> None:
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


def test_ages_and_faults_are_computed_on_scrape() -> None:
    clock = [CLOCK]
    monitor = HealthMonitor(lambda: clock[0])
    metrics = metrics_of(monitor)
    monitor.heartbeat(Loop.POLL, 10)
    metrics.sample = Sample(
        watches=(WatchStatus("jobs", NOW - 7), WatchStatus("other", 0.0, "not yet"))
    )
    assert shown(metrics, "deployctl_worker_watch_age_seconds") == {"jobs": 7}
    assert shown(metrics, "deployctl_worker_ready") == {"": 1}
    clock[0] += 500
    monitor.set_fault("api", "down")
    assert shown(metrics, "deployctl_worker_loop_age_seconds") == {"poll": 500}
    assert shown(metrics, "deployctl_worker_fault") == {"api": 1}
    assert shown(metrics, "deployctl_worker_ready") == {"": 0}
    assert shown(metrics, "deployctl_worker_up") == {"": 0}


def test_delays_of_events_are_histograms_in_seconds() -> None:
    metrics = metrics_of()
    event_log = MeteredEventLog(RecordedEvents(), metrics)
    for delay in (0.0, 0.05, 0.06, 7.0, 4000.0):
        event_log.emit(Level.INFO, EventName.RUN_CLAIMED, "claimed", delay=delay)
    event_log.emit(Level.INFO, EventName.RUN_SUBMITTED, "adopted")
    event_log.emit(Level.INFO, EventName.JOB_RUNNING, "", delay=3)
    name = "deployctl_worker_claim_delay_seconds"
    buckets = shown(metrics, f"{name}_bucket")
    assert [buckets[bound] for bound in ("0.05", "0.1", "5.0", "10.0", "300.0", "+Inf")] == [
        2, 3, 3, 4, 4, 5,
    ]  # fmt: skip
    assert shown(metrics, f"{name}_count") == {"": 5}
    assert shown(metrics, f"{name}_sum") == {"": 4007.11}
    assert shown(metrics, "deployctl_worker_job_creation_delay_seconds_count") == {"": 0}
    assert shown(metrics, "deployctl_worker_job_start_delay_seconds_sum") == {"": 3}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (None, "unreachable"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (429, "overloaded"),
        (422, "rejected"),
        (503, "server_error"),
        (404, ""),
        (409, ""),
        (410, ""),
        (200, ""),
    ],
)
def test_failed_requests_are_counted_by_target_and_kind(status: int | None, kind: str) -> None:
    exporter = exporter_of()
    exporter.count_request(Target.CLUSTER, status)
    exporter.count_request(Target.API, 500)
    exporter.count_request(Target.API, 500)
    expected = {"server_error,api": 2.0} | ({f"{kind},cluster": 1.0} if kind else {})
    assert shown(exporter, "deployctl_worker_request_errors_total") == expected


def test_each_pool_has_its_own_values() -> None:
    one, two = metrics_of(), metrics_of()
    one.sample, two.sample = Sample(due=1, waiting_for_slot=1), Sample(due=2)
    MeteredEventLog(RecordedEvents(), two).emit(Level.INFO, EventName.RUN_COMPLETED, "")
    exporter = exporter_of(one=one, two=two)
    assert shown(exporter, "deployctl_worker_due_runs") == {"one": 1, "two": 2}
    assert shown(exporter, "deployctl_worker_runs_waiting_for_slot") == {"one": 1, "two": 0}
    assert shown(exporter, "deployctl_worker_runs_total") == {",completed,two": 1}


def test_shows_the_memory_of_the_process() -> None:
    assert shown(metrics_of(), "process_resident_memory_bytes")[""] > 1_000_000
