"""The objects of a worker follow from its values."""

from __future__ import annotations

import pytest
import yaml

from deployctl.cli.render.manifests import manifests
from tests.support.manifest_cases import CASES, Case, at, render


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_objects_follow_from_values(case: Case) -> None:
    objects = render(case.values)
    assert {path: at(objects, path) for path in case.expected} == dict(case.expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_yaml_holds_the_same_objects(case: Case) -> None:
    objects = render(case.values)
    assert list(yaml.safe_load_all(manifests(objects))) == objects


def test_each_namespace_with_jobs_has_a_role() -> None:
    roles = [
        each
        for each in render({"worker": {"config": {"jobNamespace": "a,b"}}})
        if each["kind"] == "Role"
    ]
    resources = {
        each["metadata"]["namespace"]: [rule["resources"][0] for rule in each["rules"]]
        for each in roles
    }
    jobs = ["jobs", "pods", "pods/log", "secrets", "events"]
    assert resources == {"default": ["leases"], "a": jobs, "b": jobs}
