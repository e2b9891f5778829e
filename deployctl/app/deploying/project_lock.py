"""Holds the lock of a project while its plan is applied, and confirms the plan before.

Of two deploys of one project at the same time, the one that acquires the lock first is applied as a
whole. The other one waits, reads the server again, and goes on only if what is left to do is what
its plan shows: two equal deploys both succeed. Otherwise it ends with DC525, and has written
nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from deployctl.api.calls import call
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.prepare import plan_again
from deployctl.app.deploying.prepared_plan import PreparedPlan
from deployctl.core.diagnostics import Report
from deployctl.core.errors import DeployctlError, NotFound, Rejected, Unauthorized
from deployctl.core.progress import Progress
from deployctl.deploy.lock import LockHolder, LockLost, acquire_lock, leave, release, renewal
from deployctl.deploy.model import kind_name
from deployctl.deploy.plan import parts_of
from deployctl.deploy.prune import deleted_keys

_STOPPED = "stopped; nothing was written to the server"


@dataclass(frozen=True, slots=True)
class LockTimings:
    """Seconds."""

    renewal: float = 5.0
    """Between two renewals."""
    expiry: float = 20.0
    """After which a lock that was not renewed is taken over: without a renewal while we wait."""
    old: float = 60.0
    """After which it is taken over at once, by the server's clock."""
    poll: float = 0.5
    """Between two looks at a lock that another deploy holds."""
    timeout: float = 600.0
    """How long to wait for it."""


LOCK_TIMINGS = LockTimings()


def _uptime() -> float:
    """Seconds of a monotonic clock that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ProjectLock:
    """The lock of one project; a context manager that holds it.

    Entering raises LockLost if another deploy holds it for too long, and Interrupted.
    """

    def __init__(
        self,
        project: str,
        session: Session,
        report: Report,
        progress: Progress,
        timings: LockTimings,
        is_complete: Callable[[], bool],
        clock: Callable[[], float] = _uptime,
    ) -> None:
        """`report` gets a warning if the server refuses the lock, which is then not held.

        `is_complete` is asked at the end whether everything was written.
        """
        self.waited = False
        """Whether another deploy held it."""
        self.took_over = False
        """Whether it was taken from a deploy that had died, or ended before it was complete."""
        self._project = project
        self._session = session
        self._report = report
        self._progress = progress
        self._timings = timings
        self._is_complete = is_complete
        self._clock = clock
        self._owner = f"{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4().hex[:12]}"
        self._holder: LockHolder | None = None
        self._renewed_at = 0.0
        self._seen: LockHolder | None = None
        """Who held the lock when it was last read, and since when that is so."""
        self._seen_at = 0.0
        self._is_lost = False
        self._has_written = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="lock", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except (Unauthorized, NotFound, Rejected) as error:
            self._report.add(
                "DC527",
                f"other deploys of the project '{self._project}' are not kept from writing at the "
                f"same time: {error.message}",
                help="Allow these credentials to create, update and delete variables.",
            )
        else:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Releases the lock, or leaves it marked if not everything was written.

        If that fails, it expires.
        """
        self._released.set()
        if self._holder is None or self._session.is_down:
            return
        self._thread.join(self._timings.renewal)
        if self._is_lost or self._session.is_down:
            return
        is_whole = not self._has_written or (kind is None and self._is_complete())
        end = release if is_whole else leave
        with suppress(DeployctlError):
            self._session.send(end(self._project, self._holder), finish=True)

    def check(self) -> None:
        """Raises LockLost if another deploy has taken over, and what a late renewal raises.

        To be called before each write.
        """
        self._has_written = True
        if self._is_expired and (error := self._renew()):
            raise error
        if self._is_lost:
            raise LockLost(
                f"another deploy of the project '{self._project}' took over, because this one did "
                f"not renew its lock for {self._timings.expiry:.0f} s",
                help="Run the same command again when the other one has ended.",
            )

    @property
    def _is_expired(self) -> bool:
        """Whether other deploys may take the lock over by now; never if it is not held."""
        age = self._clock() - self._renewed_at
        return self._holder is not None and age > self._timings.expiry

    def _acquire(self) -> None:
        end = self._clock() + self._timings.timeout
        while True:
            asked_at = self._clock()
            acquiring = acquire_lock(self._project, self._owner, is_held=self.waited)
            holder = run(acquiring, self._session)
            if holder is None:
                self._wait(end)
            elif holder.owner == self._owner:
                self._holder, self._renewed_at = holder, asked_at
                return
            elif holder.is_incomplete or self._is_dead(holder):
                self.took_over = self._take_over(holder)
            else:
                self._wait(end, holder.owner)

    def _is_dead(self, holder: LockHolder) -> bool:
        """Whether the lock was not renewed for too long.

        The server's date may come from a proxy with another clock than the one that wrote
        `renewed_at`, so a lock that looks expired is watched for as long, unless it is old.
        """
        age = self._session.server_clock() - holder.renewed_at
        now = self._clock()
        if holder != self._seen:
            self._seen, self._seen_at = holder, now
        return age > self._timings.old or now - self._seen_at > self._timings.expiry

    def _take_over(self, holder: LockHolder) -> bool:
        """Deletes the lock of a dead holder; whether it was still there."""
        try:
            run(call(release(self._project, holder)), self._session)
        except NotFound:
            return False
        return True

    def _wait(self, end: float, owner: str = "") -> None:
        """Waits for the next look at the lock, which `owner` has just held, or released if empty.

        Raises LockLost after `end`.
        """
        what = f"another deploy of the project '{self._project}'"
        if owner and not self.waited:
            self._progress.phase(f"waiting for {what}")
            self._progress.output("deploy", f"waiting for {what} ({owner})")
        self.waited, self.took_over = True, False
        if self._clock() > end:
            raise LockLost(
                f"{what} goes on for longer than {self._timings.timeout:.0f} s",
                help="Nothing was written. Run the same command again when the other one has "
                "ended.",
            )
        if self._session.cancellation.wait(self._timings.poll if owner else 0):
            raise self._session.cancellation.interrupted(_STOPPED)

    def _keep_renewing(self) -> None:
        while not self._is_lost and not self._released.wait(self._timings.renewal):
            self._renew()

    def _renew(self) -> DeployctlError | None:
        """Renews the lock; returns an error that doesn't say that the lock is gone.

        The next call then tries again.
        """
        assert self._holder is not None
        sent_at = self._clock()
        try:
            self._session.send(renewal(self._project, self._holder), finish=True)
        except NotFound:
            self._is_lost = True
        except DeployctlError as error:
            return error
        self._renewed_at = sent_at
        return None


@contextmanager
def exclusive(
    prepared: Sequence[PreparedPlan],
    session: Session,
    report: Report,
    progress: Progress,
    is_complete: Callable[[], bool],
    timings: LockTimings = LOCK_TIMINGS,
) -> Iterator[list[tuple[PreparedPlan, Callable[[], None]]]]:
    """Locks the projects, and yields the plans with what to call before each write.

    At the end, `is_complete` is asked whether everything was written.
    A project that needs no change is not locked. Locks are acquired in the order of the projects'
    names, so that two commands never wait for each other. Raises LockLost if another deploy has
    changed what a plan is about, and Interrupted; nothing was written then.
    """
    with ExitStack() as stack:
        names = sorted({each.loaded.project for each in prepared if each.plan.needed})
        locks = {
            name: stack.enter_context(
                ProjectLock(name, session, report, progress, timings, is_complete)
            )
            for name in names
        }
        yield [
            (_confirm(each, locks[each.loaded.project], session, report), locks[name].check)
            if (name := each.loaded.project) in locks
            else (each, lambda: None)
            for each in prepared
        ]


def _confirm(
    prepared: PreparedPlan, lock: ProjectLock, session: Session, report: Report
) -> PreparedPlan:
    """The plan made again now that the lock is held. Raises LockLost if it is another one.

    After a deploy that ended before it was complete another plan is expected, but no delete that
    was not shown.
    """
    again = plan_again(prepared, session)
    before, after = parts_of(prepared.plan), parts_of(again.plan)
    project = prepared.loaded.project
    new_deletes = deleted_keys(again.plan.changes) - deleted_keys(prepared.plan.changes)
    if lock.took_over and not new_deletes:
        if after != before:
            message = "a deploy of the project '{}' that ended before it was complete is completed"
            report.add("DC526", message.format(project))
        return again
    new = sorted({f"{kind_name(kind)} {name}" for kind, name, *_ in after - before})
    is_partly_done = after != before and bool(again.plan.needed)
    if new or (lock.waited and prepared.loaded.selects_all and is_partly_done):
        what = f": {', '.join(new[:3])}{' …' * (len(new) > 3)}" if new else ""
        raise LockLost(
            f"another deploy of the project '{project}' has changed the server since this plan was "
            f"made{what}",
            help="Nothing was written. Run the same command again to see what it would change now.",
        )
    if after != before:
        message = "another deploy of the project '{}' has made the same changes at the same time"
        report.add("DC526", message.format(project))
    return again
