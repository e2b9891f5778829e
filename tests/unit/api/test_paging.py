from __future__ import annotations

import pytest

from deployctl.api import paths
from deployctl.api.paging import PAGE, pages


def test_pages_requests_expected_pages_at_once_then_continues() -> None:
    steps = pages(paths.FLOWS, {"sort": "x"}, PAGE + 1)
    first = next(steps)
    assert [request.body["offset"] for request in first] == [0, PAGE]
    assert {request.path for request in first} == {"/flows/filter"}
    (third,) = steps.send([[1] * PAGE, [2] * PAGE])
    assert third.body == {"sort": "x", "limit": PAGE, "offset": 2 * PAGE}
    with pytest.raises(StopIteration) as stop:
        steps.send([[3]])
    assert len(stop.value.value) == 2 * PAGE + 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.work_pool("a/b c"), "/work_pools/a%2Fb%20c"),
        (paths.work_queue("p", "q/1"), "/work_pools/p/queues/q%2F1"),
        (paths.listing(paths.work_queues("p")), "/work_pools/p/queues/filter"),
        (paths.deployment_by_name("f", "a/b"), "/deployments/name/f/a%2Fb"),
    ],
)
def test_paths_quote_names(path: str, expected: str) -> None:
    assert path == expected
