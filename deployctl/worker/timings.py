"""All waits, grace periods and intervals of a worker, as one value that is passed in.

They are not settings: each default follows from the behaviour of Prefect or Kubernetes that its
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
    orphaned_after: float = 10.0
    """Age of a claim without a Job at which another worker creates the Job. Too early does no harm:
    every worker gives the Job the same name. With the time until the Lease of a dead leader is
    taken over, which passes meanwhile, that is less than 20 s from a worker's death."""
    vanished_after: float = 20.0
    """How long a Job must be missing before its run is CRASHED: the list of Jobs and the server's
    list of runs are never of the same moment."""
    cancel_grace: float = 60.0
    """How long a running Job may take to cancel itself: Prefect 2 polls for cancellation every
    10 s, and the processes of a flow get 30 s to end."""
    unreadable_after: float = 1800.0
    """How long a Job must be missing, in a location that may not be read, before its run is
    CRASHED: a namespace that was deleted with its RoleBinding never becomes readable again."""
    deletion_grace: float = 30.0
    """From the end of the pods' grace period to the conclusion that a deletion hangs, because of a
    finalizer or a node that is gone: a kubelet that works needs seconds."""
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

    observe_per_run: float = 2e-5
    """Seconds between two comparisons of all runs with their Jobs, for each run: with thousands of
    them, one takes an eighth of that on one core. Claims and starts do not wait for it."""

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
    poll_min_interval: float = 0.2
    """Shortest time between two polls, when runs become due one after the other."""
    poll_pause: float = 5.0
    """The same as a multiple of a poll's duration, so that polls do not take up a slow server."""
    sync_pause: float = 10.0
    """Shortest time between two reads of all active runs, if those are several pages, as a multiple
    of their duration."""
    contention_memory: float = 60.0
    """How long a worker that lost a claim to another one claims in an order of its own."""
    slot_wait_first: float = 1.0
    """Until a deployment without a free concurrency slot is asked for again; doubles."""
    slot_wait_max: float = 30.0
    """As long as a 3.x server holds a run back (PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_-
    SECONDS); a Job that ends frees a slot, so it ends the wait."""
    slot_wait_memory: float = 90.0
    """How long a refused run counts as waiting unless it is refused again: the server offers it
    again after half a minute, and one of many is asked for."""
    summary_interval: float = 60.0
    """Between two log lines about runs that wait for concurrency slots."""
    report_delay: float = 5.0
    """How long the report of a Job waits for due runs: until then, a worker that dies leaves the
    server without the Job's location."""
    report_interval: float = 2.0
    """Between batches of log lines and events, as in Prefect's worker."""
    cache_ttl: float = 5.0
    """How long deployments and flows are cached: many runs of one deployment start together."""
    sweep_interval: float = 600.0
    """Between two searches for what unfinished starts left in the runtime."""
    sweep_age: float = 600.0
    """Age from which on a Secret of an unknown attempt is left over: every attempt that still gets
    a Job is known to the leader by then."""
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
    lease_duration: float = 10.0
    """Without a renewal, after which another replica takes the Lease. Renewed four times within."""
    watch_idle_timeout: float = 90.0
    """A watch without data for this long is reopened. The API server sends a bookmark about every
    minute, so a longer silence means a dead connection or an idle cluster."""
    watch_retry_max: float = 30.0
    """Longest back-off of a watch that fails."""
    watch_healthy_after: float = 5.0
    """A watch that lasted this long counts as one that worked: its back-off starts over."""
    informer_interval: float = 0.5
    """How often clusters, namespaces and log streams are compared with what runs."""
    informer_join_timeout: float = 2.0
    """How long a watch thread may take to end; it is a daemon and holds nothing."""
    unexplained_after: float = 10.0
    """How long a Job waits without a cause before its Events are read."""
    events_interval: float = 30.0
    """How long until the Events of a Job are read again."""
    log_reconnect_interval: float = 5.0
    """From the break of a log stream until it is requested again."""
    create_retry_first: float = 0.25
    """Between the tries to create a Job, while a thread of the executor is blocked; doubles."""
    create_retry_max: float = 2.0
    quota_grace: float = 3600.0
    """How long a claim waits until a quota of Jobs or Secrets admits it. Meanwhile the run is
    PENDING and takes up slots of concurrency limits."""
    forbidden_grace: float = 60.0
    """How long a claim waits for a missing right: a chart that is applied again replaces Roles."""

    # Docker.
    docker_event_window: float = 2.0
    """Duration of events that one request reads."""
    docker_list_interval: float = 60.0
    """Between two lists of all containers."""
    docker_oom_delay: float = 3.0
    """How much later than the end of a killed container the engine may say that it ran out of
    memory: until then its cause is not settled."""
    docker_retry_interval: float = 2.0
    """Until the next try after the engine failed."""
    auto_remove_delay: float = 3600.0
    """How long a container with `auto_remove` is kept after its end: its exit code and its log must
    be reported first, and the server may be down."""

    # Processes.
    process_poll_interval: float = 0.5
    process_retention: float = 24 * 3600.0
    """How long folders of ended programs are kept, so that users can read their output."""


DEFAULT_TIMINGS = Timings()
