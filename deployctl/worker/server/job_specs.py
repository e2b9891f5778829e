"""Reads what the jobs of claimed runs are made of, and describes them.

Deployments and flows are kept for a few seconds, because runs of one deployment come in swarms; the
references of a job are read for each run anew, because what they hold may be a secret.
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

KEPT_SECONDS = 5.0


@dataclass(slots=True)
class _Entry:
    value: Json = None
    until: float = float("-inf")
    reading: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class TTLCache:
    """Answers of the server by path, each kept for a short time; many threads may use it."""

    session: Session
    clock: Callable[[], float] = time.monotonic
    _places: dict[str, _Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, about: str) -> Json:
        """The object at this path; threads that ask for the same at once cause one request.

        Raises NotFound and other ApiErrors.
        """
        place = self._place(path)
        with place.reading:
            if self.clock() >= place.until:
                place.value = run_inline(call(Request("GET", path, subject=about)), self.session)
                place.until = self.clock() + KEPT_SECONDS
            return place.value

    def _place(self, path: str) -> _Entry:
        """Where the answer is, or is going to be; what is out of date elsewhere is forgotten."""
        now = self.clock()
        with self._lock:
            self._places = {
                other: place
                for other, place in self._places.items()
                if other == path or now < place.until or place.reading.locked()
            }
            return self._places.setdefault(path, _Entry())


@dataclass(slots=True)
class JobSpecBuilder:
    """Describes the job of a claimed run (`hands.Descriptions`)."""

    session: Session
    worker: str
    server_version: str
    environ: Mapping[str, str]
    inherited: Mapping[str, str]
    pool: Json
    """Replaced whenever the pool is read again."""
    shelf: TTLCache
    offered: dict[str, Json] = field(default_factory=dict)
    """Runs as the last poll gave them: they need not be read again."""

    def __call__(self, run: Run) -> JobSpec:
        """Raises NotFound where run, flow or deployment is gone; Undescribable; other ApiErrors."""
        subject = self._subject(run)
        wanted = required_references(subject, self.environ)
        library = run_inline(read_references(wanted, secrets=True), self.session)
        return build_job_spec(subject, library, environ=self.environ, inherited=self.inherited)

    def _subject(self, run: Run) -> JobSource:
        flow_run = self.offered.get(run.id) or run_inline(
            call(Request("GET", paths.flow_run(run.id), subject=f"flow run '{run.name}'")),
            self.session,
        )
        deployment = None
        if run.deployment:
            about = f"the deployment of flow run '{run.name}'"
            deployment = self.shelf.get(paths.deployment(run.deployment), about)
        return JobSource(
            flow_run={**flow_run, "name": run.name},
            deployment=deployment,
            flow=self.shelf.get(paths.flow(run.flow), f"the flow of flow run '{run.name}'"),
            work_pool=self.pool,
            attempt=run.attempt,
            worker_name=self.worker,
            server_version=self.server_version,
        )
