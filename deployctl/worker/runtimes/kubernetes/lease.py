"""Leader election among replicas by a Lease in the worker's own namespace.

Clocks are never compared: a Lease counts as abandoned when it has not changed for its whole
duration while this process observed it, by this process's own clock. A holder that cannot renew
stops leading before another one may begin, even if its thread hangs. A process does not wait for a
Lease whose holder has its own name: that is its predecessor, which was killed.

Where the worker has no right to Leases, or their namespace does not exist, every replica leads: the
server rejects whatever is reported a second time, so nothing is reported twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.timings import DEFAULT_TIMINGS

_RENEWALS = 4
"""Number of times within the duration that a holder renews, or another replica checks."""
_MARGIN = 0.2
"""Fraction of the duration by which a holder that cannot renew stops before another may begin."""
_REQUEST_TIMEOUT = 4.0


@dataclass(slots=True)
class LeaseLeadership:
    """A candidate for one Lease.

    `identity` must be unique to the process: the worker's name, a space and a random part.
    """

    kube: KubeClient
    name: str
    identity: str
    event_log: EventLog
    clock: Callable[[], float] = time.monotonic
    duration: float = DEFAULT_TIMINGS.lease_duration
    _leads_until: float = -math.inf
    _observed: Json = None
    _observed_at: float = 0.0
    """When the Lease was observed to change to `_observed`."""
    _is_first: bool = True
    """The Lease has not been read yet."""
    _free_at: float = math.inf
    """When the Lease counts as abandoned, unless it changes."""
    _all_lead: bool = False
    """Leases cannot be used, so that every replica leads."""
    _warned: bool = False
    _was_leader: bool = False

    @property
    def is_leader(self) -> bool:
        """Whether this worker leads at the moment."""
        return self._all_lead or self.clock() < self._leads_until

    def campaign(self, cancellation: CancellationToken) -> None:
        """Tries to become and stay leader until cancelled, then releases the Lease."""
        while not cancellation.is_cancelled:
            self.step()
            cancellation.wait(self.pause())
        self._release()

    def pause(self) -> float:
        """Seconds until the next step: at the latest when the holder's Lease runs out."""
        interval, left = self.duration / _RENEWALS, self._free_at - self.clock()
        return left if not self.is_leader and 0 < left < interval else interval

    def step(self) -> None:
        """Acquires or renews the Lease if possible. Errors are ignored: the next step retries."""
        began = self.clock()
        try:
            held = self._acquire()
            self._all_lead = False
        except KubeUnreachable:
            held = False
        except KubeApiError as error:
            held = False
            self._all_lead = error.status in (403, 404)
        if held:
            self._leads_until = began + self.duration * (1 - _MARGIN)
        self._log_changes()

    def _acquire(self) -> bool:
        lease, now = self._read(), self.clock()
        is_first, self._is_first = self._is_first, False
        if lease is None:
            body = {"metadata": {"name": self.name}, "spec": self._spec({})}
            return self._write("POST", self._path(), body)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        is_predecessor = is_first and _same_worker(holder, self.identity)
        if spec != self._observed:
            self._observed, self._observed_at = spec, now
        self._free_at = self._observed_at + (spec.get("leaseDurationSeconds") or self.duration)
        if holder and holder != self.identity and now < self._free_at and not is_predecessor:
            self._leads_until = -math.inf
            return False
        return self._write("PUT", self._path(self.name), {**lease, "spec": self._spec(spec)})

    def _read(self) -> Json:
        try:
            return self.kube.request("GET", self._path(self.name), timeout=_REQUEST_TIMEOUT)
        except KubeApiError as error:
            if error.status == 404:
                return None
            raise

    def _write(self, method: str, path: str, body: Json) -> bool:
        """Writes the Lease; False if another replica wrote it since it was read."""
        try:
            self.kube.request(method, path, body=body, timeout=_REQUEST_TIMEOUT)
        except KubeApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _release(self) -> None:
        """Releases the Lease, so that another replica can lead at once; harmless if it fails."""
        if self._all_lead or not self.is_leader:
            return
        self._leads_until = -math.inf
        try:
            lease = self._read()
            if lease and lease["spec"].get("holderIdentity") == self.identity:
                spec = {**lease["spec"], "holderIdentity": ""}
                self._write("PUT", self._path(self.name), {**lease, "spec": spec})
        except (KubeApiError, KubeUnreachable):
            return

    def _spec(self, previous: Json) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        renewal = previous.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self.duration),
            "acquireTime": previous.get("acquireTime", now) if renewal else now,
            "renewTime": now,
            "leaseTransitions": previous.get("leaseTransitions", 0) + (not renewal),
        }

    def _path(self, name: str = "") -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.kube.namespace}/leases"
        return f"{path}/{name}" if name else path

    def _log_changes(self) -> None:
        """Logs each change of leadership, and once that all replicas lead."""
        if self._all_lead and not self._warned:
            self._warned = True
            self.event_log.emit(
                Level.WARNING,
                EventName.LEASE_FORBIDDEN,
                f"the worker may not use leases in namespace '{self.kube.namespace}', so every "
                "replica observes all jobs; grant its Role the verbs 'get', 'create' and 'update' "
                "on leases",
            )
        if self.is_leader != self._was_leader:
            self._was_leader = self.is_leader
            event = EventName.LEASE_ACQUIRED if self._was_leader else EventName.LEASE_LOST
            text = (
                f"this worker {'observes' if self._was_leader else 'no longer observes'} all jobs"
            )
            self.event_log.emit(Level.INFO, event, text, lease=self.name, holder=self.identity)


def _same_worker(holder: str | None, identity: str) -> bool:
    """Whether two identities are of processes with the same worker name."""
    name = identity.rpartition(" ")[0]
    return bool(name) and (holder or "").rpartition(" ")[0] == name
