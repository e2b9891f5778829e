from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployctl.app.deploying.load import LoadOptions, load_project
from deployctl.core.diagnostics import Report
from deployctl.project.selection import Selection
from tests.support.project import write_project


def entry(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "entrypoint": "flows.py:hello", **fields}


@pytest.mark.parametrize(
    ("deployments", "problem"),
    [
        ([entry("new", renamed_from="old")], None),
        ([entry("new", renamed_from="other-flow/old"), entry("old")], None),
        ([entry("new", renamed_from="old"), entry("old")], "that one is still declared"),
        ([entry("new", renamed_from="hello/old"), entry("old")], "that one is still declared"),
        ([entry("new", renamed_from="new")], "that is its name"),
        (
            [entry("new", renamed_from="{{ build.name }}")],
            "its former name must be known before steps run",
        ),
        (
            [entry("other", renamed_from="old"), entry("new", renamed_from="old")],
            "another entry says the same",
        ),
    ],
)
@pytest.mark.parametrize("names", [(), ("new", "other")])
def test_former_name_is_checked_against_all_entries(
    tmp_path: Path, deployments: list[Any], problem: str | None, names: tuple[str, ...]
) -> None:
    write_project(tmp_path, json.dumps({"name": "p", "deployments": deployments}))
    report = Report()
    declared = {each["name"] for each in deployments}
    selection = Selection(not names, tuple(name for name in names if name in declared))
    load_project(tmp_path / "prefect.yaml", LoadOptions(selection), report, {})
    found = [each for each in report if each.code == "DC150"]
    assert [each.message.partition("': ")[2] for each in found] == [problem] * bool(problem)
    assert all(each.span for each in found)
