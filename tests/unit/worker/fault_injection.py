"""Faults and foreign events that happen to single requests of a simulated worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from deployctl.core.errors import DeployctlError

if TYPE_CHECKING:
    from tests.unit.worker.simulation import Simulation

T = TypeVar("T")


class Fault(Enum):
    """What goes wrong with one request of a worker."""

    REPEATED = auto()
    """It is sent twice, because the first response was lost."""
    NOT_RECEIVED = auto()
    """It never arrives."""
    RESPONSE_LOST = auto()
    """It is carried out, and the response is lost."""
    NOT_FOUND = auto()
    """404, although the object exists."""
    CRASH_BEFORE = auto()
    """The worker dies before it is sent."""
    CRASH_AFTER = auto()
    """The worker dies after it was carried out."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """These events happen before the request arrives."""

    events: Sequence[Event]


Event: TypeAlias = tuple[Any, ...]
"""The name of a method of `Simulation`, and its arguments."""
Injection: TypeAlias = Fault | Meanwhile | None
"""What happens to one request."""


class Crash(BaseException):
    """The worker process dies in the middle of an action."""


@dataclass(slots=True)
class FaultInjector:
    """Passes on all requests of one worker, with the injections that a test has queued."""

    simulation: Simulation
    injections: list[Injection] = field(default_factory=list)
    """For the next requests, in order."""

    def request(
        self,
        execute: Callable[[], T],
        lost: DeployctlError,
        missing: Callable[[], T],
        *,
        atomic: bool = False,
        repeatable: bool = True,
    ) -> T:
        """Execute a request with the next injection; `atomic`: no events happen before it.

        One that is not `repeatable` is not sent twice: its sender learns that the response was
        lost.
        """
        injected = self.injections.pop(0) if self.injections else None
        if isinstance(injected, Meanwhile) and not atomic:
            injections, self.injections = self.injections, []
            for event in injected.events:
                self.simulation.do(event)
            self.injections = injections
        if injected is Fault.CRASH_BEFORE:
            raise Crash
        if injected is Fault.NOT_RECEIVED:
            raise lost
        if injected is Fault.NOT_FOUND:
            return missing()
        if injected is Fault.REPEATED and not repeatable:
            injected = Fault.RESPONSE_LOST
        if injected is Fault.REPEATED:
            execute()
        result = execute()
        if injected is Fault.CRASH_AFTER:
            raise Crash
        if injected is Fault.RESPONSE_LOST:
            raise lost
        return result
