"""Dialects of the Prefect API."""

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
def test_parses_versions(text: str, version: tuple[int, int, int]) -> None:
    assert parse_dialect(text).version == version


@pytest.mark.parametrize("response", [None, {}, "", "unknown", ["3.8.8"]])
def test_rejects_server_without_version(response: Json) -> None:
    with pytest.raises(ApiError, match="does not report a Prefect version"):
        parse_dialect(response)


@pytest.mark.parametrize("text", ["2.15.0", "2.8.1", "1.4.0", "0.15.13"])
def test_rejects_servers_older_than_2_16(text: str) -> None:
    with pytest.raises(ApiError, match=f"the server is Prefect {text}, which is too old"):
        parse_dialect(text)


def test_detects_dialect_with_one_request() -> None:
    steps = detect()
    (request,) = next(steps)
    assert (request.method, request.path) == ("GET", "/admin/version")
    with pytest.raises(StopIteration) as finished:
        steps.send(["3.2.1"])
    assert finished.value.value == Dialect((3, 2, 1))


def test_detects_cloud_without_request() -> None:
    with pytest.raises(StopIteration) as finished:
        next(detect(cloud=True))
    assert finished.value.value is CLOUD


@pytest.mark.parametrize(("version", "found"), [((2, 16, 4), 1), ((2, 20, 0), 0), ((3, 8, 8), 0)])
def test_warns_about_untested_servers(version: tuple[int, int, int], found: int) -> None:
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


def test_openapi_document_replaces_table() -> None:
    dialect = refine(Dialect((2, 20, 0)), SCHEMA)
    assert dialect.server_fields["deployment", "update"] == {"tags", "pull_steps"}
    assert dialect.accepts("deployment", ApiField("tags", NEVER), "update")
    assert not dialect.accepts("deployment", ApiField("name"), "update")
    assert dialect.accepts("schedule", ApiField("schedule"))
    assert not dialect.accepts("schedule", ApiField("slug"))
    assert dialect.accepts("deployment", ApiField("name"))


def test_operation_ids_do_not_matter() -> None:
    """Prefect 3.9.6 gives the operations other ids."""

    def named(ids: str) -> Json:
        return {
            "paths": {
                path: {
                    method: {**operation, "operationId": f"{ids}{path}{method}"}
                    for method, operation in operations.items()
                }
                for path, operations in SCHEMA["paths"].items()
            },
            "components": SCHEMA["components"],
        }

    assert refine(Dialect((3, 9, 5)), named("old")) == refine(Dialect((3, 9, 5)), named("new"))


def test_server_without_openapi_document_keeps_dialect() -> None:
    steps = fetch_refined(Dialect((3, 1, 0)))
    (request,) = next(steps)
    assert (request.path, request.missing_ok) == ("/openapi.json", True)
    with pytest.raises(StopIteration) as finished:
        steps.send([None])
    assert finished.value.value == Dialect((3, 1, 0))
    assert not finished.value.value.server_fields
