"""The work pool that a worker is to serve is found, or made once, or refused with the reason."""

from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.worker.server.pool import PoolError, find_or_create


def test_nothing_is_made_of_a_type_that_no_worker_here_runs() -> None:
    talk = find_or_create("etl", "kubernets", base_job_template, create=True)
    (asked,) = next(talk)
    assert asked.method == "GET"
    with pytest.raises(PoolError, match="none of type 'kubernets' can be made"):
        talk.send([None])


@pytest.mark.parametrize(
    ("pool", "wanted", "message"),
    [
        (None, None, "there is no work pool 'etl'"),
        ({"type": "process"}, "kubernetes", "of type 'process', not 'kubernetes'"),
        ({"type": "ecs:push"}, None, "needs no worker"),
        ({"type": "prefect:managed"}, None, "needs no worker"),
    ],
)
def test_a_pool_that_cannot_be_served_is_refused(
    pool: Json, wanted: str | None, message: str
) -> None:
    talk = find_or_create("etl", wanted, base_job_template, create=False)
    next(talk)
    with pytest.raises(PoolError, match=message):
        talk.send([pool])
