"""Which replica observes: the holder of a Lease in the worker's own namespace.

Clocks are never compared: a Lease counts as abandoned when it has not changed for its whole
duration while this process looked on, by this process's own clock. A holder that cannot renew stops
leading before anybody else may begin, even if its thread hangs. Where the worker has no right to
Leases, or there is no place for them, every replica leads: all that they report is refused the
second time, so nothing is told twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.timings import DEFAULT_TIMINGS

_RENEWALS = 3
"""Times that a holder renews, or another looks, within the duration."""
_MARGIN = 0.2
"""The part of the duration by which a holder that cannot renew stops before another may begin."""
_TIMEOUT = 4.0


@dataclass(slots=True)
class LeaseLeadership:
    """A campaign for one Lease. `identity` has to be another one in each process."""

    kube: Kube
    name: str
    identity: str
    event_log: EventLog
    clock: Callable[[], float] = time.monotonic
    duration: float = DEFAULT_TIMINGS.lease_duration
    _until: float = -math.inf
    _seen: Json = None
    _seen_at: float = 0.0
    """When the Lease was last seen to change, to `_seen`."""
    _everyone: bool = False
    _warned: bool = False
    _led: bool = False

    @property
    def is_leader(self) -> bool:
        """Whether this worker observes at the moment."""
        return self._everyone or self.clock() < self._until

    def campaign(self, stop: CancellationToken) -> None:
        """Tries to lead until asked to stop, and then gives the lead up."""
        while not stop.is_cancelled:
            self.step()
            stop.wait(self.duration / _RENEWALS)
        self._resign()

    def step(self) -> None:
        """Takes or renews the Lease if it is to be had. Raises nothing: it is tried again."""
        began = self.clock()
        try:
            held = self._take(began)
            self._everyone = False
        except KubeUnreachable:
            held = False
        except KubeApiError as error:
            held = False
            self._everyone = error.status in (403, 404)
        if held:
            self._until = began + self.duration * (1 - _MARGIN)
        self._say()

    def _take(self, now: float) -> bool:
        lease = self._read()
        if lease is None:
            body = {"metadata": {"name": self.name}, "spec": self._spec({})}
            return self._write("POST", self._path(), body)
        spec = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_at = spec, now
        holder = spec.get("holderIdentity")
        patience = spec.get("leaseDurationSeconds") or self.duration
        if holder and holder != self.identity and now - self._seen_at < patience:
            return False
        return self._write("PUT", self._path(self.name), {**lease, "spec": self._spec(spec)})

    def _read(self) -> Json:
        try:
            return self.kube.request("GET", self._path(self.name), timeout=_TIMEOUT)
        except KubeApiError as error:
            if error.status == 404:
                return None
            raise

    def _write(self, method: str, path: str, body: Json) -> bool:
        """Whether this was the first to write since the Lease was read."""
        try:
            self.kube.request(method, path, body=body, timeout=_TIMEOUT)
        except KubeApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _resign(self) -> None:
        """Lets another begin at once: nothing is lost if this fails."""
        if self._everyone or not self.is_leader:
            return
        self._until = -math.inf
        try:
            lease = self._read()
            if lease and lease["spec"].get("holderIdentity") == self.identity:
                spec = {**lease["spec"], "holderIdentity": ""}
                self._write("PUT", self._path(self.name), {**lease, "spec": spec})
        except (KubeApiError, KubeUnreachable):
            return

    def _spec(self, before: Json) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self.duration),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (not mine),
        }

    def _path(self, name: str = "") -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.kube.namespace}/leases"
        return f"{path}/{name}" if name else path

    def _say(self) -> None:
        """A line when the lead changes, and one warning where everybody leads."""
        if self._everyone and not self._warned:
            self._warned = True
            self.event_log.emit(
                Level.WARNING,
                EventName.LEASE_FORBIDDEN,
                f"the worker may not use leases in namespace '{self.kube.namespace}', so every "
                "replica observes all jobs; give its Role the verbs 'get', 'create' and 'update' "
                "on leases",
            )
        if self.is_leader != self._led:
            self._led = self.is_leader
            event = EventName.LEASE_ACQUIRED if self._led else EventName.LEASE_LOST
            text = f"this worker {'observes' if self._led else 'no longer observes'} all jobs"
            self.event_log.emit(Level.INFO, event, text, lease=self.name, holder=self.identity)
