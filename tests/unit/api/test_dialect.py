from __future__ import annotations

import pytest

from deployctl.api.dialect import (
    CLOUD,
    NEVER,
    ApiField,
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
    assert dialect.own["deployment", "update"] == {"tags", "pull_steps"}
    assert dialect.accepts("deployment", ApiField("tags", NEVER), "update")
    assert not dialect.accepts("deployment", ApiField("name"), "update")
    assert dialect.accepts("schedule", ApiField("schedule"))
    assert not dialect.accepts("schedule", ApiField("slug"))
    assert dialect.accepts("deployment", ApiField("name"))


def test_a_server_that_hides_its_schema_changes_nothing() -> None:
    talk = fetch_refined(Dialect((3, 1, 0)))
    (request,) = next(talk)
    assert (request.path, request.missing_ok) == ("/openapi.json", True)
    with pytest.raises(StopIteration) as stop:
        talk.send([None])
    assert stop.value.value == Dialect((3, 1, 0))
    assert not stop.value.value.own
