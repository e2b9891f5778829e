from __future__ import annotations

from deployctl.api.calls import Request
from deployctl.deploy.last_applied import LastApplied
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.prune import deleted_keys, deletes, is_most
from deployctl.deploy.resources import RESOURCE_KINDS
from tests.unit.deploy.answers import V3


def resource(kind: str, *key: str, children: tuple[Resource, ...] = ()) -> Resource:
    return Resource(kind, key, {}, children, id="-".join(key))


SCHEDULES = tuple(resource("schedule", "f", "d", text) for text in ("cron 1", "cron 2"))
DEPLOYMENT = resource("deployment", "f", "d", children=SCHEDULES)
ALERT = resource("automation", "f", "d", "alert")
OTHERS_ALERT = resource("automation", "f", "stays", "alert")
QUEUE = resource("work_queue", "p", "q")
DEFAULT = resource("work_queue", "p", "default")
POOL = resource("work_pool", "p", children=(QUEUE, DEFAULT))


def shown(change: Change) -> tuple[str, ...]:
    """Kind and key of a delete, and the kinds of what is deleted with it."""
    assert change.op is Op.DELETE
    return (change.kind, change.name, *(child.kind for child in change.children))


def test_deletes_come_in_the_reverse_order_of_creates() -> None:
    found = deletes([POOL, QUEUE, DEFAULT, DEPLOYMENT, ALERT, OTHERS_ALERT])
    assert [shown(change) for change in found] == [
        ("automation", "f/stays/alert"),
        ("deployment", "f/d", "automation"),
        ("work_pool", "p"),
    ]


def test_queue_of_a_pool_that_stays_is_deleted_unless_it_is_the_default() -> None:
    assert [shown(change) for change in deletes([QUEUE, DEFAULT])] == [("work_queue", "p/q")]


def test_notes_say_what_the_server_deletes_along() -> None:
    deployment, pool = deletes([DEPLOYMENT, POOL])
    assert deployment.notes == ("its 2 schedules are deleted with it",)
    assert pool.notes == ("its 2 queues are deleted with it",)


def test_record_forgets_deletes_with_all_their_parts() -> None:
    record = LastApplied().add([DEPLOYMENT, POOL, resource("deployment", "f", "stays")])
    (change,) = deletes([DEPLOYMENT])
    left = record.without(deleted_keys([change]))
    assert set(left.roots()) == {("work_pool", ("p",)), ("deployment", ("f", "stays"))}
    assert "schedule" not in left.resources


def test_more_than_half_is_most() -> None:
    assert [is_most("x" * count, 4) for count in range(5)] == [False, False, False, True, True]


def test_each_kind_of_root_and_part_is_deleted_by_one_request() -> None:
    paths = {}
    for each in (DEPLOYMENT, ALERT, QUEUE, POOL):
        call = RESOURCE_KINDS[each.kind].write(
            Change(each.kind, each.key, Op.DELETE, None, each), "", V3
        )
        (request,) = next(call)
        assert isinstance(request, Request)
        assert (request.method, request.missing_ok) == ("DELETE", True)
        paths[each.kind] = request.path
    assert paths == {
        "deployment": "/deployments/f-d",
        "automation": "/automations/f-d-alert",
        "work_queue": "/work_pools/p/queues/q",
        "work_pool": "/work_pools/p",
    }
