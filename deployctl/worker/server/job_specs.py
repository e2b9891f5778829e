"""Builds the job spec of a claimed run from what the server has.

Deployments and flows are cached for a few seconds, because runs of one deployment start together.
Variables and blocks that a job refers to are read for each run: they may hold secrets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deployctl.api import paths
from deployctl.api.calls import Request, call
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.core.json_values import Json
from deployctl.jobs.job_spec import build_job_spec, required_references
from deployctl.jobs.model import JobSource, JobSpec
from deployctl.templating.references import read_references
from deployctl.worker.model import Run
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings


@dataclass(slots=True)
class _Entry:
    value: Json = None
    expires: float = float("-inf")
    reading: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class TTLCache:
    """Cache of GET responses by path, for many threads."""

    session: Session
    ttl: float = DEFAULT_TIMINGS.cache_ttl
    """Seconds."""
    clock: Callable[[], float] = time.monotonic
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, subject: str) -> Json:
        """Returns the object at this path; concurrent callers share one request.

        `subject` names it in errors. Raises NotFound and other ApiErrors.
        """
        entry = self._entry(path)
        with entry.reading:
            if self.clock() >= entry.expires:
                request = Request("GET", path, subject=subject)
                entry.value = run_inline(call(request), self.session)
                entry.expires = self.clock() + self.ttl
            return entry.value

    def _entry(self, path: str) -> _Entry:
        """Returns the entry of a path, new or not, and evicts expired ones of other paths."""
        now = self.clock()
        with self._lock:
            self._entries = {
                other: entry
                for other, entry in self._entries.items()
                if other == path or now < entry.expires or entry.reading.locked()
            }
            return self._entries.setdefault(path, _Entry())


@dataclass(slots=True)
class JobSpecBuilder:
    """Builds job specs (a `JobSpecSource`)."""

    session: Session
    worker: str
    server_version: str
    environ: Mapping[str, str]
    inherited: Mapping[str, str]
    """Settings that jobs get from the worker."""
    pool: Json
    """The work pool; replaced whenever it is read again."""
    cache: TTLCache
    timings: Timings = DEFAULT_TIMINGS
    offered: dict[str, Json] = field(default_factory=dict)
    """Runs of the last poll by id: they need not be read again."""

    def __call__(self, run: Run) -> JobSpec:
        """Raises NotFound if the run, flow or deployment is gone, InvalidJobSpec, and ApiErrors."""
        source = self._source(run)
        references = required_references(source, self.environ)
        library = run_inline(read_references(references, secrets=True), self.session)
        return build_job_spec(
            source,
            library,
            environ=self.environ,
            inherited=self.inherited,
            default_start_timeout=self.timings.start_timeout,
        )

    def _source(self, run: Run) -> JobSource:
        subject = f"flow run '{run.name}'"
        flow_run = self.offered.get(run.id) or run_inline(
            call(Request("GET", paths.flow_run(run.id), subject=subject)), self.session
        )
        deployment = None
        if run.deployment:
            path = paths.deployment(run.deployment)
            deployment = self.cache.get(path, f"the deployment of {subject}")
        return JobSource(
            flow_run={**flow_run, "name": run.name},
            deployment=deployment,
            flow=self.cache.get(paths.flow(run.flow), f"the flow of {subject}"),
            work_pool=self.pool,
            attempt=run.attempt,
            worker_name=self.worker,
            server_version=self.server_version,
        )
