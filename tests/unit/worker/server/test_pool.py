"""Finding, creating and rejecting the work pool of a worker."""

from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.worker.server.pool import (
    PoolError,
    find_or_create,
    heartbeat,
    sync_base_job_template,
)


def test_creates_no_pool_of_an_unknown_type() -> None:
    api_call = find_or_create("etl", "kubernets", base_job_template, create=True)
    (request,) = next(api_call)
    assert request.method == "GET"
    with pytest.raises(PoolError, match="none of type 'kubernets' can be created"):
        api_call.send([None])


@pytest.mark.parametrize(
    ("pool", "pool_type", "message"),
    [
        (None, None, "there is no work pool 'etl'"),
        ({"type": "process"}, "kubernetes", "of type 'process', not 'kubernetes'"),
        ({"type": "ecs:push"}, None, "needs no worker"),
        ({"type": "prefect:managed"}, None, "needs no worker"),
    ],
)
def test_rejects_a_pool_that_cannot_be_served(
    pool: Json, pool_type: str | None, message: str
) -> None:
    api_call = find_or_create("etl", pool_type, base_job_template, create=False)
    next(api_call)
    with pytest.raises(PoolError, match=message):
        api_call.send([pool])


def test_base_job_template_replaces_another_one() -> None:
    pool = {"name": "etl", "base_job_template": {"variables": {"a": 1}}, "id": "x"}
    api_call = sync_base_job_template(pool, {"variables": {"a": True}})
    (request,) = next(api_call)
    assert (request.method, request.body) == (
        "PATCH",
        {"base_job_template": {"variables": {"a": True}}},
    )
    with pytest.raises(StopIteration) as done:
        api_call.send([None])
    assert done.value.value == pool | {"base_job_template": {"variables": {"a": True}}}


def test_equal_base_job_template_is_not_written() -> None:
    api_call = sync_base_job_template({"name": "etl", "base_job_template": {"a": 1}}, {"a": 1})
    with pytest.raises(StopIteration) as done:
        next(api_call)
    assert done.value.value is None


@pytest.mark.parametrize(("interval", "sent"), [(30.0, 30), (0.2, 1), (7.5, 8)])
def test_heartbeat_has_whole_seconds(interval: float, sent: int) -> None:
    (request,) = next(heartbeat("etl", "w", interval))
    assert repr(request.body["heartbeat_interval_seconds"]) == repr(sent)
