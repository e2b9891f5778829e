"""The Job that we make of a flow run is the one that Prefect's Kubernetes worker makes."""

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

from deployctl.core.values import Json, leaves, show_path
from deployctl.jobs.describing import describe, references_of
from deployctl.jobs.manifest import build
from deployctl.jobs.model import Subject
from deployctl.jobs.pools import kubernetes_template
from deployctl.templating.grammar import Kind
from deployctl.templating.references import Library
from tests.support.job_cases import (
    BLOCK,
    BLOCKS,
    DIFFERENT,
    RUN,
    SAME,
    VARIABLES,
    Case,
    Different,
)
from tests.support.servers import PREFECT_2, PREFECT_3

SCRIPT = Path(__file__).parents[1] / "support" / "prefect_job.py"
SETTINGS = {
    "PREFECT_API_URL": "http://prefect.example.com/api",
    "PREFECT_API_KEY": "the-key",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
}
WORKER = "Worker 1"
VERSIONS = {2: PREFECT_2, 3: PREFECT_3}
BASES = {"ours": kubernetes_template(), "prefect's": None}

Answers = dict[tuple[str, str], Any]


def _facts(case: Case) -> dict[str, Json]:
    """The run and all that belongs to it, in the words that both majors share."""
    flow, deployment, pool = (f"{n}0000000-0000-4000-8000-000000000000" for n in "123")
    return {
        "flow_run": {
            "id": RUN,
            "name": case.names.get("run", "comical-skink"),
            "flow_id": flow,
            "deployment_id": deployment,
            "job_variables": case.run,
        },
        "flow": {"id": flow, "name": case.names.get("flow", "hello")},
        "deployment": {
            "id": deployment,
            "name": case.names.get("deployment", "daily"),
            "flow_id": flow,
            "updated": "2026-11-21T15:00:00.123456+00:00",
            "job_variables": case.deployment,
        },
        "work_pool": {
            "id": pool,
            "name": "pool",
            "type": "kubernetes",
            "default_queue_id": flow,
        },
        "worker_name": WORKER,
    }


def _ask(python: Path, home: Path, major: int) -> Answers:
    cases = [case for case in [*SAME, *(d.case for d in DIFFERENT)] if major in case.majors]
    asked = [(base, case) for base in BASES for case in cases]
    questions = [
        {
            **_facts(case),
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
            "WORKER_SAYS": "here",
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
    """What the real Prefect says to all cases."""
    pythons = {2: prefect2_python, 3: prefect3_python}
    known = {
        major: _ask(python, tmp_path_factory.mktemp(f"prefect{major}"), major)
        for major, python in pythons.items()
    }
    return known.__getitem__


def _ours(case: Case, major: int, template: Json) -> Json:
    facts = _facts(case)
    facts["work_pool"]["base_job_template"] = template
    subject = Subject(**facts, attempt="a1", server_version=VERSIONS[major])
    environ = {"WORKER_SAYS": "here"}
    secret = {"fields": {"secret_fields": ["value"]}}
    sources: dict[tuple[Kind, tuple[str, ...]], Json] = {
        **{
            (Kind.BLOCK, tuple(name.split("/"))): {"data": data, "block_schema": secret}
            for name, data in BLOCKS.items()
        },
        (Kind.DOCUMENT, (BLOCK,)): {"data": BLOCKS[BLOCK]},
        **{(Kind.VARIABLE, (name,)): {"value": value} for name, value in VARIABLES.items()},
    }
    library = Library(sources, secrets=True)
    assert all(reference.name for reference in references_of(subject, environ))
    description = describe(subject, library, environ=environ, inherited=SETTINGS)
    return build(description).job


def _comparable(job: Json, major: int) -> dict[str, Json]:
    """The leaves of a manifest, without what every Job of ours, or of Prefect's, has."""
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
    found = {show_path(path): leaf for path, leaf in leaves(job)}
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
def test_the_job_is_prefects(
    answers: Callable[[int], Answers], case: Case, major: int, base: str
) -> None:
    theirs = answers(major)[base, case.id]
    ours = _ours(case, major, theirs["template"])
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
def test_the_job_differs_where_we_want_it_to(
    answers: Callable[[int], Answers], different: Different, major: int, base: str
) -> None:
    theirs = answers(major)[base, different.case.id]
    ours = _ours(different.case, major, theirs["template"])
    wanted = different.ours
    if isinstance(wanted, str):
        wanted = wanted.replace("{version}", VERSIONS[major])
    assert _shows(ours, different.path, wanted)
    assert "error" in theirs or not _shows(theirs["manifest"], different.path, wanted)


def _shows(manifest: Json, path: tuple[str | int, ...], wanted: Any) -> bool:
    try:
        found = reduce(getitem, path, manifest)
    except (KeyError, IndexError):
        return wanted is None
    if isinstance(wanted, dict):
        values = {item["name"]: item.get("value") for item in found}
        return wanted.items() <= values.items()
    return bool(found == wanted)
