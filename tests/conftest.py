from __future__ import annotations

import gc
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.in_process import forget_secrets

pytest_plugins = ["tests.support.reruns"]

gc.disable()  # until all tests are collected

settings.register_profile(
    "steady",
    deadline=None,
    derandomize="DEPLOYCTL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


NODE = "tests/integration/node/"
FIRST = (NODE, "tests/integration/kubernetes/")
"""Folders whose tests wait most. They begin first, so that others can compute meanwhile."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the tests of `FIRST` to the front, folder by folder; skip those marked `cluster`."""
    if "cluster" not in config.option.markexpr:
        skipped = pytest.mark.skip(reason="takes minutes; `make test-cluster` runs it")
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(skipped)

    def place(item: pytest.Item) -> int:
        return [*map(item.nodeid.startswith, FIRST), True].index(True)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from scanning 10,000 collected tests again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()


def _group(nodeid: str) -> str:
    """The tests of a file run in one process, and those of all files that share the node."""
    return NODE if nodeid.startswith(NODE) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute by `_group` with `--dist loadfile`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = _group
    return scheduling


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget registered secrets: the output of another test may contain the same text."""
    forget_secrets(monkeypatch)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report which tests were skipped on this machine, and why."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    terminalreporter.section("skipped tests")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} × {reason}")
    if not reasons:
        terminalreporter.line("none")
