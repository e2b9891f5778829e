from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeAlias, TypeVar

import pytest

from deployctl.api.calls import ApiCall, Request
from deployctl.core.errors import DeployctlError, LostResponse, Rejected
from deployctl.core.json_values import Json
from deployctl.deploy.artifacts import artifact_key
from deployctl.deploy.desired import deployment, work_pool
from deployctl.deploy.last_applied import (
    LastApplied,
    read_last_applied,
    remove_old_versions,
    update_last_applied,
)
from tests.unit.deploy.answers import KEY

TAGS = deployment(KEY, {"tags": ["a"]}, None)
PAUSED = deployment(KEY, {"paused": True}, None)
WEEKLY = deployment(("hello", "weekly"), {"tags": ["a"]}, None)

T = TypeVar("T")
Change: TypeAlias = Callable[[LastApplied], LastApplied]


class Artifacts:
    """The artifacts of a server, as far as records need them."""

    def __init__(self, versions: Sequence[Json] = ()) -> None:
        self.versions: list[Json] = list(versions)
        """Oldest first."""
        self.posts = 0

    def copy(self) -> Artifacts:
        return Artifacts(self.versions)

    def answers(self, batch: Sequence[Request]) -> list[Json]:
        return [self._answer(request) for request in batch]

    def _answer(self, request: Request) -> Json:
        if request.path.endswith("/latest"):
            return self.versions[-1] if self.versions else None
        if request.path.endswith("/filter"):
            start = request.body["offset"]
            return self.versions[::-1][start : start + request.body["limit"]]
        if request.method == "DELETE":
            gone = request.path.rpartition("/")[2]
            self.versions = [each for each in self.versions if each["id"] != gone]
            return None
        self.posts += 1
        self.versions.append({"id": f"v{len(self.versions)}", **copy.deepcopy(request.body)})
        return self.versions[-1]

    def step(self, api_call: ApiCall[LastApplied], batch: Sequence[Request]) -> Json:
        """Answers a batch and returns the next one; None at the end of the call."""
        answers = self.answers(batch)
        try:
            return api_call.send(answers)
        except StopIteration:
            return None

    def run(self, api_call: ApiCall[T], batch: Json = None) -> T:
        """Runs a call, from `batch` on if it was started, and returns its result."""
        batch = next(api_call) if batch is None else batch
        while True:
            try:
                batch = api_call.send(self.answers(batch))
            except StopIteration as stop:
                result: T = stop.value
                return result


def answered(api_call: ApiCall[LastApplied], answer: Json) -> LastApplied:
    next(api_call)
    with pytest.raises(StopIteration) as stop:
        api_call.send([answer])
    record = stop.value.value
    assert isinstance(record, LastApplied)
    return record


def daily(**fields: Json) -> LastApplied:
    return LastApplied().add([deployment(KEY, fields, None)])


@pytest.mark.parametrize(
    ("project", "key"),
    [
        ("etl", "deployctl-etl"),
        ("my-etl-2", "deployctl-my-etl-2"),
        ("My ETL", "deployctl-my-etl-1cbf3ad0"),
        ("資料", "deployctl-6d0f4a2c"),
    ],
)
def test_artifact_key_is_valid_and_unique(project: str, key: str) -> None:
    assert artifact_key(project).rsplit("-", 1)[0] == key.rsplit("-", 1)[0]
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in artifact_key(project))


def test_similar_project_names_have_different_keys() -> None:
    names = ["etl", "ETL", "e tl", "é tl", "資料", "数据", "-etl"]
    assert len({artifact_key(name) for name in names}) == len(names)


def test_add_keeps_earlier_fields() -> None:
    record = daily(tags=["a"]).add([deployment(KEY, {"paused": True}, [])])
    assert record.declared("deployment", KEY) == {"tags", "paused", "automation"}


def test_replace_drops_undeclared_fields_of_applied_roots_only() -> None:
    other = deployment(("hello", "weekly"), {"tags": []}, None)
    pool = work_pool({"name": "hello", "queues": [{"name": "q"}]})
    record = daily(tags=["a"], schedules=[{"schedule": {"cron": "@daily"}}]).add([other, pool])
    settled = record.replace([deployment(KEY, {"paused": True}, None)])
    assert settled.declared("deployment", KEY) == {"paused"}
    assert "schedule" not in settled.resources
    assert settled.declared("deployment", other.key) == {"tags"}
    assert settled.resources["work_queue"] == record.resources["work_queue"]


def test_queue_that_is_no_longer_declared_stays_in_the_record() -> None:
    before = work_pool({"name": "p", "queues": [{"name": "q"}, {"name": "r", "priority": 2}]})
    after = work_pool({"name": "p", "queues": [{"name": "r"}]})
    record = LastApplied().add([before]).replace([after])
    assert record.resources["work_queue"] == {("p", "q"): set(), ("p", "r"): set()}
    (found,) = record.parts().items()
    assert found[0] == ("work_pool", ("p",))
    assert {each.key for each in found[1]} == {("p", "q"), ("p", "r")}


def test_record_survives_a_round_trip() -> None:
    record = daily(tags=["secret"], schedules=[{"schedule": {"cron": "@daily"}, "slug": "a/b"}])
    server = Artifacts()
    assert server.run(update_last_applied("etl", lambda _: record)) == record
    assert "secret" not in str(server.versions)
    assert server.run(read_last_applied("etl")) == record


def test_missing_record_declares_nothing() -> None:
    assert answered(read_last_applied("etl"), None).declared("deployment", KEY) == frozenset()


def test_record_of_newer_format_is_refused() -> None:
    api_call = read_last_applied("etl")
    next(api_call)
    with pytest.raises(DeployctlError, match="newer deployctl"):
        api_call.send([{"data": {"format": 99, "items": {}}}])


@pytest.mark.parametrize("arrived", [True, False])
def test_record_is_read_before_it_is_sent_again_after_a_lost_response(arrived: bool) -> None:
    server = Artifacts()
    update = update_last_applied("etl", lambda record: record.add([TAGS]))
    (look,) = next(update)
    (request,) = update.send(server.answers([look]))
    assert not request.idempotent
    if arrived:
        server.answers([request])
    batch = update.throw(LostResponse("gone"))
    assert [each.path for each in batch] == ["/artifacts/filter"]
    record = server.run(update, batch)
    assert record.declared("deployment", KEY) == {"tags"}
    assert len(server.versions) == 1


def test_versions_that_no_merge_reads_are_removed() -> None:
    server = Artifacts([{"id": f"v{n}", "data": {}} for n in range(23)])
    server.run(remove_old_versions("p"))
    assert [each["id"] for each in server.versions] == [f"v{n}" for n in range(3, 23)]
    server.run(remove_old_versions("p"))
    assert len(server.versions) == 20


def test_a_server_that_deletes_nothing_does_not_matter() -> None:
    api_call = remove_old_versions("p")
    next(api_call)
    with pytest.raises(StopIteration):
        api_call.throw(Rejected("no"))


def test_unchanged_record_is_not_written() -> None:
    server = Artifacts()
    server.run(update_last_applied("etl", lambda record: record.add([TAGS])))
    server.run(update_last_applied("etl", lambda record: record.add([TAGS])))
    assert server.posts == 1


def test_record_without_bases_of_an_older_deployctl_is_kept() -> None:
    server = Artifacts()
    server.run(update_last_applied("etl", lambda record: record.add([TAGS])))
    for version in server.versions:
        del version["data"]["base"]
    record = server.run(update_last_applied("etl", lambda record: record.add([PAUSED])))
    assert record.declared("deployment", KEY) == {"tags", "paused"}


RELEASE: Change = lambda record: record.replace([PAUSED])  # noqa: E731
CLAIMS: list[Change] = [
    lambda record: record.add([WEEKLY]),
    lambda record: record.add([TAGS]),
    lambda record: record.replace([WEEKLY]),
    lambda record: record.add([work_pool({"name": "p"})]),
]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("first", [True, False], ids=["first deploy", "later deploy"])
def test_commands_side_by_side_keep_each_others_changes(claim: Change, first: bool) -> None:
    """In every order of their requests, the record is that of one command after the other."""
    changes = (RELEASE, claim)
    start = Artifacts()
    if not first:
        start.run(update_last_applied("etl", lambda record: record.add([TAGS, PAUSED])))
    before = start.run(read_last_applied("etl"))
    expected = [changes[1](changes[0](before)), changes[0](changes[1](before))]
    for order in product((0, 1), repeat=8):
        server = start.copy()
        updates = [update_last_applied("etl", change) for change in changes]
        batches: list[Json] = [next(update) for update in updates]
        for turn in (*order, *(0, 1) * 40):
            if batches[turn] is not None:
                batches[turn] = server.step(updates[turn], batches[turn])
        assert batches == [None, None]
        assert server.run(read_last_applied("etl")) in expected, order


def test_version_of_a_command_that_died_before_its_merge_is_merged_by_the_next() -> None:
    server = Artifacts()
    server.run(update_last_applied("etl", lambda record: record.add([TAGS, PAUSED])))
    stale = update_last_applied("etl", lambda record: record.add([WEEKLY]))
    batch = server.step(stale, next(stale))
    server.run(update_last_applied("etl", RELEASE))
    server.step(stale, batch)  # writes, and dies
    record = server.run(update_last_applied("etl", lambda record: record))
    assert record.declared("deployment", KEY) == {"paused"}
    assert record.declared("deployment", WEEKLY.key) == {"tags"}
    assert server.run(read_last_applied("etl")) == record
