"""Jobs equal those of Prefect's Kubernetes worker, except where they differ on purpose."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from deployctl.core.json_values import Json, format_path, leaves
from deployctl.jobs.base_job_templates import base_job_template
from tests.support.job_cases import (
    BLOCKS,
    DIFFERENT,
    ENVIRON,
    SAME,
    SETTINGS,
    VARIABLES,
    VERSIONS,
    Case,
    Different,
    job_of,
    source_fields,
)

SCRIPT = Path(__file__).parents[1] / "support" / "prefect_job.py"
BASES = {"ours": base_job_template("kubernetes"), "prefect's": None}

Answers = dict[tuple[str, str], Any]


def _run_prefect(python: Path, home: Path, major: int) -> Answers:
    cases = [case for case in [*SAME, *(d.case for d in DIFFERENT)] if major in case.majors]
    asked = [(base, case) for base in BASES for case in cases]
    questions = [
        {
            **source_fields(case),
            "template": BASES[base],
            "edits": case.edits,
            "blocks": BLOCKS,
            "variables": VARIABLES,
        }
        for base, case in asked
    ]
    done = subprocess.run(
        [str(python), "-W", "ignore", str(SCRIPT)],
        input=json.dumps(questions),
        env={
            "PATH": os.environ["PATH"],
            "PREFECT_HOME": str(home),
            **ENVIRON,
            **SETTINGS,
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return {(b, c.id): answer for (b, c), answer in zip(asked, answers, strict=True)}


@pytest.fixture(scope="module")
def answers(
    prefect2_python: Path, prefect3_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Answers]:
    """The manifests of the real Prefect for all cases."""
    pythons = {2: prefect2_python, 3: prefect3_python}
    known = {
        major: _run_prefect(python, tmp_path_factory.mktemp(f"prefect{major}"), major)
        for major, python in pythons.items()
    }
    return known.__getitem__


def _comparable(job: Json, major: int) -> dict[str, Json]:
    """The leaves of a manifest, without those that differ in every Job."""
    metadata, template = job["metadata"], job["spec"]["template"]
    name = metadata.pop("name", None) or metadata.pop("generateName") + "hash"
    metadata["prefix"] = name.rpartition("-")[0]
    for field in ("parallelism", "completions"):
        template["spec"].pop(field, None)
    for container in template["spec"]["containers"]:
        container["env"] = {item.pop("name"): item for item in container.get("env", [])}
        for name in ("PREFECT_HOME", "PREFECT_SERVER_EPHEMERAL_ENABLED"):
            container["env"].pop(name, None)
    if major < 3:  # Prefect 2 gives fewer labels, and none to the pod
        template.pop("metadata", None)
        more = ("app.kubernetes.io/", "prefect.io/work-pool-", "prefect.io/worker-")
        labels = metadata["labels"]
        metadata["labels"] = {k: v for k, v in labels.items() if not k.startswith(more)}
    found = {format_path(path): leaf for path, leaf in leaves(job)}
    return {path: leaf for path, leaf in found.items() if ".deployctl.io/" not in path}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("case", "major"),
    [
        pytest.param(case, major, id=f"{case.id}-{major}.x")
        for case in SAME
        for major in case.majors
    ],
)
def test_job_equals_prefects(
    answers: Callable[[int], Answers], case: Case, major: int, base: str
) -> None:
    theirs = answers(major)[base, case.id]
    ours = job_of(case, major, theirs["template"]).job
    assert "manifest" in theirs, theirs
    here, there = _comparable(ours, major), _comparable(theirs["manifest"], major)
    assert {
        path: (here.get(path), there.get(path))
        for path in here | there
        if here.get(path) != there.get(path)
    } == {}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("different", "major"),
    [
        pytest.param(different, major, id=f"{different.case.id}-{major}.x")
        for different in DIFFERENT
        for major in different.case.majors
    ],
)
def test_job_differs_from_prefects_on_purpose(
    answers: Callable[[int], Answers], different: Different, major: int, base: str
) -> None:
    theirs = answers(major)[base, different.case.id]
    ours = job_of(different.case, major, theirs["template"]).job
    expected = different.ours
    if isinstance(expected, str):
        expected = expected.replace("{version}", VERSIONS[major])
    assert _has_value(ours, different.path, expected)
    assert "error" in theirs or not _has_value(theirs["manifest"], different.path, expected)


def _has_value(manifest: Json, path: tuple[str | int, ...], expected: Any) -> bool:
    try:
        found = reduce(getitem, path, manifest)
    except (KeyError, IndexError):
        return expected is None
    if isinstance(expected, dict):
        values = {item["name"]: item.get("value") for item in found}
        return expected.items() <= values.items()
    return bool(found == expected)
