"""Runs a failed integration test once more, and reports what passed only then (pytest plugin).

Programs that a busy machine starts too slowly can fail a test that has no defect. Unit tests are
never run again.
"""

from __future__ import annotations

from typing import Any

import pytest

_TIMEOUT = pytest.StashKey[Any]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let pytest-rerunfailures run integration tests again; it refuses to with `--pdb`."""
    if config.option.usepdb:
        return
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Remember the timeout of a test for its second run."""
    item.stash[_TIMEOUT] = settings


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the timeout of a second run: pytest-timeout ends it at the first failure."""
    settings = item.stash.get(_TIMEOUT, None)
    if settings and getattr(item, "execution_count", 1) > 1:
        item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that passed only when run again, with their first failure."""
    stats = terminalreporter.stats
    failed = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])}
    first: dict[str, str] = {}
    for report in stats.get("rerun", []):
        if report.nodeid not in failed:
            first.setdefault(report.nodeid, _last_line(report))
    if not first:
        return
    terminalreporter.section(f"passed only when run again: {len(first)}")
    for nodeid, line in first.items():
        terminalreporter.line(nodeid)
        terminalreporter.line(f"    {line}")


def _last_line(report: pytest.TestReport) -> str:
    """Where a test failed, and the first line of its error."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return (report.longreprtext.strip().splitlines() or [""])[-1]
    message = (crash.message.splitlines() or [""])[0]
    return f"{crash.path}:{crash.lineno}: {message}"
