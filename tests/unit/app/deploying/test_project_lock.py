"""The lock of a project against a server that keeps variables in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from deployctl.api.calls import Request
from deployctl.app.deploying.project_lock import LockTimings, ProjectLock
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Report
from deployctl.core.errors import Conflict, Interrupted, LostResponse, NotFound, Unauthorized
from deployctl.core.json_values import Json
from deployctl.core.progress import NullProgress
from deployctl.deploy.lock import LockLost, lock_name

TIMINGS = LockTimings(renewal=1000, expiry=20, poll=0, timeout=600)


@dataclass
class FakeServer:
    """Stands in for a session; keeps variables by id, and its clock stands still."""

    variables: dict[str, dict[str, Json]] = field(default_factory=dict)
    now: float = 1_000_000.0
    before: list[Callable[[Request], None]] = field(default_factory=list)
    """Called before each request."""
    cancellation: CancellationToken = field(default_factory=CancellationToken)
    is_down: bool = False
    concurrency: int = 1

    def server_clock(self) -> float:
        return self.now

    def create(self, body: Json, age: float = 0) -> dict[str, Json]:
        updated = datetime.fromtimestamp(self.now - age, UTC).isoformat()
        variable = {**body, "id": f"v-{len(self.variables)}", "updated": updated}
        self.variables[variable["id"]] = variable
        return variable

    def send(self, request: Request, *, finish: bool = False) -> Json:  # noqa: ARG002
        for hook in self.before:
            hook(request)
        name = request.path.rpartition("/")[2]
        by_name = {each["name"]: each for each in self.variables.values() if not each.get("gone")}
        if request.method == "POST":
            if request.body["name"] in by_name:
                raise Conflict("taken")
            return self.create(request.body)
        if request.method == "GET":
            return by_name.get(name)
        variable = self.variables[name]
        if variable.get("gone"):
            raise NotFound("gone")
        variable.update(request.body or {"gone": True})
        return None

    def held_by(self, owner: str, age: float) -> dict[str, Json]:
        return self.create({"name": lock_name("etl"), "value": owner}, age)

    def is_locked(self) -> bool:
        return any(not each.get("gone") for each in self.variables.values())


@contextmanager
def lock(
    server: Any, clock: Callable[[], float] = lambda: 0.0, *, is_complete: bool = True
) -> Iterator[ProjectLock]:
    quiet = (Report(), NullProgress())
    with ProjectLock("etl", server, *quiet, TIMINGS, lambda: is_complete, clock) as held:
        yield held


def test_lock_is_held_in_the_block() -> None:
    server = FakeServer()
    with lock(server) as held:
        assert server.is_locked()
        held.check()
    assert not server.is_locked()
    assert not held.waited
    assert not held.took_over


def test_lock_is_released_after_an_error() -> None:
    server = FakeServer()
    with pytest.raises(ValueError, match="x"), lock(server):
        raise ValueError("x")
    assert not server.is_locked()


@pytest.mark.parametrize("fails", [True, False])
def test_lock_of_an_incomplete_deploy_is_taken_over_at_once(fails: bool) -> None:
    server = FakeServer()
    with suppress(ValueError), lock(server, is_complete=fails) as held:
        held.check()
        if fails:
            raise ValueError
    assert server.is_locked()
    with lock(server) as held:
        assert held.took_over
        assert not held.waited
        held.check()
    assert not server.is_locked()


def test_lock_is_asked_for_twice_if_the_answer_is_lost_and_then_fails() -> None:
    server = FakeServer()
    posts: list[Request] = []

    def lose(request: Request) -> None:
        if request.method == "POST":
            posts.append(request)
            raise LostResponse("lost")

    server.before.append(lose)
    with pytest.raises(LostResponse), lock(server):
        pass
    assert len(posts) == 2


def test_lock_of_another_deploy_is_waited_for() -> None:
    server = FakeServer()
    other = server.held_by("other", age=19)
    reads: list[Request] = []

    def release_later(request: Request) -> None:
        reads.extend([request] * (request.method == "GET"))
        other["gone"] = len(reads) > 2

    server.before.append(release_later)
    with lock(server) as held:
        assert held.waited
        assert not held.took_over


def test_lock_that_was_not_renewed_is_taken_over() -> None:
    server = FakeServer()
    other = server.held_by("other", age=61)
    with lock(server) as held:
        assert held.took_over
        assert other["gone"]


@pytest.mark.parametrize(("age", "renewals"), [(30, 100), (-600, 0)])
def test_expiry_is_measured_with_one_clock(age: float, renewals: int) -> None:
    """The server's date may be that of a proxy, ahead of or behind the clock of the server."""
    server, now = FakeServer(), [0.0]
    other = server.held_by("other", age=age)
    reads: list[Request] = []

    def read(request: Request) -> None:
        if request.method == "GET":
            reads.append(request)
            now[0] += 1
            if len(reads) <= renewals:
                other["updated"] = datetime.fromtimestamp(
                    server.now - age + now[0], UTC
                ).isoformat()

    server.before.append(read)
    with lock(server, lambda: now[0]) as held:
        assert held.took_over
    assert renewals + 20 <= len(reads) <= renewals + 24


def test_check_fails_if_a_late_renewal_fails() -> None:
    server, now = FakeServer(), [0.0]

    def refuse(request: Request) -> None:
        if request.method == "PATCH":
            raise Unauthorized("not allowed")

    server.before.append(refuse)
    with lock(server, lambda: now[0]) as held:
        now[0] = 21
        with pytest.raises(Unauthorized):
            held.check()


def test_only_one_of_two_waiting_deploys_takes_over() -> None:
    server = FakeServer()
    other = server.held_by("other", age=61)
    reads: list[Request] = []

    def take_over(request: Request) -> None:
        if request.method == "DELETE" and not other.get("gone"):
            other["gone"] = True
            server.held_by("third", age=0)
        elif request.method == "GET" and other.get("gone"):
            reads.append(request)
            server.variables["v-1"]["gone"] = len(reads) > 2

    server.before.append(take_over)
    with lock(server) as held:
        assert held.waited
        assert not held.took_over


def test_lost_answer_to_the_creation_is_looked_up() -> None:
    server = FakeServer()

    def lose(request: Request) -> None:
        if request.method == "POST":
            server.create(request.body)
            raise LostResponse("lost")

    server.before.append(lose)
    with lock(server) as held:
        held.check()
        assert len(server.variables) == 1
    assert not server.is_locked()


def test_check_fails_when_another_deploy_took_over() -> None:
    server = FakeServer()
    now = [0.0]
    with lock(server, lambda: now[0]) as held:
        server.variables["v-0"]["gone"] = True
        server.held_by("other", age=0)
        held.check()
        now[0] = 21
        with pytest.raises(LockLost, match="took over"):
            held.check()
    assert server.is_locked()


def test_late_renewal_succeeds_if_the_lock_is_still_there() -> None:
    server = FakeServer()
    now = [0.0]
    with lock(server, lambda: now[0]) as held:
        now[0] = 1000
        held.check()


def test_wait_ends_after_the_timeout() -> None:
    server = FakeServer()
    other = server.held_by("other", age=0)

    def renew(request: Request) -> None:
        if request.method == "GET":
            other["updated"] = server.create({"name": "x"})["updated"]
            server.now += 1

    server.before.append(renew)
    clock = iter(range(0, 10_000, 100))
    with pytest.raises(LockLost, match="longer than 600 s"), lock(server, lambda: next(clock)):
        pass


def test_wait_ends_when_the_command_is_cancelled() -> None:
    server = FakeServer()
    server.held_by("other", age=0)
    server.cancellation.cancel()
    with pytest.raises(Interrupted, match="nothing was written"), lock(server):
        pass


def test_deploy_goes_on_with_a_warning_if_the_server_refuses_variables() -> None:
    server = FakeServer()

    def refuse(_request: Request) -> None:
        raise Unauthorized("not allowed")

    server.before.append(refuse)
    report = Report()
    session: Any = server
    with ProjectLock("etl", session, report, NullProgress(), TIMINGS, lambda: True) as held:
        held.check()
    assert [each.code for each in report.items] == ["DC527"]
