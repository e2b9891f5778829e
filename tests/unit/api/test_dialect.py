from __future__ import annotations

import pytest

from deployctl.api.dialect import (
    CLOUD,
    Dialect,
    detect,
    fetch_refined,
    parse_dialect,
    refine,
    warn_if_untested,
)
from deployctl.core.diagnostics import Report
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.8.8", (3, 8, 8)),
        ("2.20.26", (2, 20, 26)),
        ("3.0.0rc1", (3, 0, 0)),
        ("3.9.0.dev4", (3, 9, 0)),
        ("2.20.26+1.gabc", (2, 20, 26)),
        ("4.1", (4, 1, 0)),
    ],
)
def test_versions(text: str, version: tuple[int, int, int]) -> None:
    assert parse_dialect(text).version == version


@pytest.mark.parametrize("answer", [None, {}, "", "unknown", ["3.8.8"]])
def test_a_server_that_says_no_version_is_none_of_ours(answer: Json) -> None:
    with pytest.raises(ApiError, match="does not say which version"):
        parse_dialect(answer)


@pytest.mark.parametrize("text", ["2.15.0", "2.8.1", "1.4.0", "0.15.13"])
def test_servers_without_a_list_of_schedules_are_refused(text: str) -> None:
    with pytest.raises(ApiError, match=f"the server is Prefect {text}, which is too old"):
        parse_dialect(text)


def test_detection_is_one_request() -> None:
    talk = detect()
    (request,) = next(talk)
    assert (request.method, request.path) == ("GET", "/admin/version")
    with pytest.raises(StopIteration) as stop:
        talk.send(["3.2.1"])
    assert stop.value.value == Dialect((3, 2, 1))


def test_cloud_is_asked_nothing() -> None:
    with pytest.raises(StopIteration) as stop:
        next(detect(cloud=True))
    assert stop.value.value is CLOUD


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
        ("concurrency_options", "update", "grace_period_seconds", (3, 6, 6)),
        ("flow", "create", "labels", (3, 1, 5)),
        ("work_pool", "create", "storage_configuration", (3, 2, 14)),
        ("automation", "update", "tags", (3, 0, 0)),
    ],
)
def test_fields_that_came_later(kind: str, op: str, name: str, since: tuple[int, int, int]) -> None:
    major, minor, patch = since
    before = (major, minor, patch - 1) if patch else (major, minor - 1, 99)
    before = before if minor or patch else (2, 20, 26)
    assert Dialect(since).accepts(kind, name, op)  # type: ignore[arg-type]
    assert not Dialect(before).accepts(kind, name, op)  # type: ignore[arg-type]


def test_fields_that_are_never_updated() -> None:
    for name in ("name", "flow_id", "labels"):
        assert not CLOUD.accepts("deployment", name, "update")
    assert not CLOUD.accepts("work_pool", "type", "update")
    assert not CLOUD.accepts("automation", "owner_resource", "update")


def test_the_name_of_job_variables() -> None:
    old, new = Dialect((2, 20, 0)), Dialect((3, 0, 0))
    assert (old.job_variables, new.job_variables) == ("infra_overrides", "job_variables")
    for dialect in (old, new):
        assert dialect.accepts("deployment", dialect.job_variables, "update")


def test_unknown_newer_versions_and_cloud_speak_the_newest() -> None:
    newest = Dialect()
    for kind in ("deployment", "schedule", "automation"):
        assert Dialect((4, 0, 0)).fields(kind) == newest.fields(kind) == CLOUD.fields(kind)


@pytest.mark.parametrize(("version", "found"), [((2, 16, 4), 1), ((2, 20, 0), 0), ((3, 8, 8), 0)])
def test_untested_servers_are_a_warning(version: tuple[int, int, int], found: int) -> None:
    report = Report()
    warn_if_untested(Dialect(version), report)
    assert (report.warnings, report.errors) == (found, 0)


SCHEMA: Json = {
    "paths": {
        "/deployments/{id}": {
            "patch": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"allOf": [{"$ref": "#/components/schemas/Update"}]}
                        }
                    }
                }
            }
        },
        "/deployments/{id}/schedules": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "array",
                                "items": {"$ref": "#/components/schemas/One"},
                            }
                        }
                    }
                }
            }
        },
    },
    "components": {
        "schemas": {
            "Update": {"properties": {"tags": {}, "pull_steps": {}}},
            "One": {"properties": {"schedule": {}}},
        }
    },
}


def test_the_servers_own_schema_decides_where_it_was_read() -> None:
    dialect = refine(Dialect((2, 20, 0)), SCHEMA)
    assert dialect.fields("deployment", "update") == {"tags", "pull_steps"}
    assert dialect.fields("schedule") == {"schedule"}
    assert dialect.accepts("deployment", "name")


def test_a_server_that_hides_its_schema_changes_nothing() -> None:
    talk = fetch_refined(Dialect((3, 1, 0)))
    (request,) = next(talk)
    assert (request.path, request.missing_ok) == ("/openapi.json", True)
    with pytest.raises(StopIteration) as stop:
        talk.send([None])
    assert stop.value.value == Dialect((3, 1, 0))
    assert not stop.value.value.own
