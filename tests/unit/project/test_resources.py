from __future__ import annotations

import pytest

from deployctl.api.dialect import CLOUD, Dialect, Operation
from deployctl.project import keys
from deployctl.project.resources import RESOURCES, accepted, accepts, fields_of, key_path


@pytest.mark.parametrize(
    ("kind", "op", "name", "since"),
    [
        ("deployment", "create", "concurrency_limit", (3, 0, 0)),
        ("deployment", "create", "concurrency_options", (3, 0, 3)),
        ("deployment", "create", "labels", (3, 1, 5)),
        ("deployment", "update", "pull_steps", (3, 2, 0)),
        ("deployment", "update", "parameter_openapi_schema", (3, 2, 0)),
        ("schedule", "create", "slug", (3, 2, 0)),
        ("schedule", "update", "replaces", (3, 6, 17)),
        ("flow", "create", "labels", (3, 1, 5)),
        ("work_pool", "create", "storage_configuration", (3, 2, 14)),
        ("automation", "update", "tags", (3, 4, 7)),
    ],
)
def test_field_is_accepted_from_its_first_version(
    kind: str, op: Operation, name: str, since: tuple[int, int, int]
) -> None:
    major, minor, patch = since
    before = (major, minor, patch - 1) if patch else (major, minor - 1, 99)
    before = before if minor or patch else (2, 20, 26)
    assert accepts(Dialect(since), kind, name, op)
    assert not accepts(Dialect(before), kind, name, op)


def test_part_of_field_has_its_own_first_version() -> None:
    assert keys.CONCURRENCY.keys["grace_period_seconds"].since == (3, 6, 6)


def test_some_fields_are_never_updated() -> None:
    for name in ("name", "flow_id", "labels"):
        assert not accepts(CLOUD, "deployment", name, "update")
    assert not accepts(CLOUD, "work_pool", "type", "update")
    assert not accepts(CLOUD, "automation", "owner_resource", "update")


@pytest.mark.parametrize(
    ("version", "name"), [((2, 20, 0), "infra_overrides"), ((3, 0, 0), "job_variables")]
)
def test_job_variables_have_another_name_in_prefect_2(
    version: tuple[int, int, int], name: str
) -> None:
    assert accepted(Dialect(version), "deployment", {"job_variables": {}}, "update") == {name: {}}


def test_unknown_newer_versions_and_cloud_accept_what_the_newest_accepts() -> None:
    def names(dialect: Dialect, kind: str) -> list[str]:
        return [name for name in fields_of(kind) if accepts(dialect, kind, name)]

    for kind in ("deployment", "schedule", "automation"):
        newest = names(Dialect(), kind)
        assert names(Dialect((4, 0, 0)), kind) == newest == names(CLOUD, kind)


@pytest.mark.parametrize("kind", RESOURCES)
def test_every_managed_field_of_a_key_is_found_in_the_file(kind: str) -> None:
    set_by_keys = {key.field.name for key in RESOURCES[kind].keys.values() if key.field}
    assert all(key_path(kind, name)[0] in RESOURCES[kind].keys for name in set_by_keys)


def test_nested_keys_are_found_in_the_file() -> None:
    assert key_path("deployment", "job_variables") == ("work_pool", "job_variables")
    assert key_path("deployment", "concurrency_options") == (
        "concurrency_limit",
        "collision_strategy",
    )
