"""All waits, grace periods and intervals of a worker, as one value that is passed in.

They are no settings: each default follows from the behaviour of Prefect or Kubernetes that its
comment names, so users need not choose them. Tests pass shorter ones instead of patching modules.
Intervals that users do set (`PREFECT_WORKER_QUERY_SECONDS`, …) are in `worker/settings.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.jobs.job_spec import DEFAULT_START_TIMEOUT


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds."""

    # Decisions about runs and Jobs.
    orphaned_after: float = 15.0
    """Age of a claim without a Job at which another worker creates the Job. Too early does no harm:
    every worker gives the Job the same name."""
    vanished_after: float = 20.0
    """How long a Job must be missing before its run is CRASHED: the list of Jobs and the server's
    list of runs are never of the same moment."""
    cancel_grace: float = 60.0
    """How long a running Job may take to cancel itself: Prefect 2 polls for cancellation every
    10 s, and the processes of a flow get 30 s to end."""
    offer_ttl: float = 2.0
    """How long a list of scheduled runs is trusted without reading a run again before its claim. A
    server lets a run that has ended be claimed; within this time no run is claimed elsewhere and
    ends."""
    report_grace: float = 10.0
    """From a Job's successful exit to the conclusion that its flow never reported: its last state
    may have reached the server and not this worker."""

    # The reconcile loop.
    tick: float = 1.0
    """Longest time between two reconcile steps: time alone may make something due."""
    debounce: float = 0.02
    """Batches a burst of updates into one reconcile step."""

    # Retries.
    retry_first: float = 1.0
    """Back-off of a run after its first failed action; doubles with every further failure."""
    retry_max: float = 60.0
    location_retry_max: float = 5.0
    """Longest back-off after the server did not accept a Job's location. Nothing else is done about
    the run meanwhile, and it may crash or be cancelled."""
    start_retry_first: float = 1.0
    """Between attempts to start the worker; doubles up to `start_retry_max`."""
    start_retry_max: float = 30.0

    # The server.
    report_interval: float = 2.0
    """Between batches of log lines and events, as in Prefect's worker."""
    cache_ttl: float = 5.0
    """How long deployments and flows are cached: many runs of one deployment start together."""
    start_timeout: float = DEFAULT_START_TIMEOUT
    """Default of `pod_watch_timeout_seconds`."""

    # Health and shutdown.
    loop_timeout: float = 300.0
    """How late a loop's heartbeat may be before liveness fails. Requests time out after a minute;
    Prefect's worker counts as dead after 30 missed polls, by default as long."""
    shutdown_grace: float = 20.0
    """For actions in flight after a signal: a pod gets 30 s to end."""
    join_timeout: float = 3.0
    """For loops to end after that, and again as long for the last report to the server."""

    # Kubernetes.
    lease_duration: float = 15.0
    """Without a renewal, after which another replica takes the Lease."""
    watch_idle_timeout: float = 90.0
    """A watch without data for this long is reopened. The API server sends a bookmark about every
    minute, so a longer silence means a dead connection or an idle cluster."""
    watch_retry_max: float = 30.0
    """Longest back-off of a watch that fails."""


DEFAULT_TIMINGS = Timings()
