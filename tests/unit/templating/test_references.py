from __future__ import annotations

from typing import Any

import pytest

from deployctl.api.calls import Request
from deployctl.core import redact
from deployctl.core.diagnostics import Severity
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import (
    Reference,
    ReferenceValues,
    missing_references,
    read_references,
    references,
)
from deployctl.templating.render import Scope, render


def block(data: Any, *secret: str) -> Any:
    return {"data": data, "block_schema": {"fields": {"secret_fields": list(secret)}}}


LIBRARY = ReferenceValues(
    {
        (PlaceholderKind.VARIABLE, ("team",)): {
            "name": "team",
            "value": {"name": "data", "size": 3},
        },
        (PlaceholderKind.VARIABLE, ("none",)): {"name": "none", "value": None},
        (PlaceholderKind.VARIABLE, ("gone",)): None,
        (PlaceholderKind.BLOCK, ("json", "a")): block(
            {"value": {"list": [{"k": 1}, 2], "values": "v"}}
        ),
        (PlaceholderKind.BLOCK, ("registry", "hub")): block(
            {"url": "hub.example", "user": {"name": "u", "password": "********"}}, "user.password"
        ),
        (PlaceholderKind.BLOCK, ("headers", "h")): block(
            {"name": "n", "headers": {"a": "********", "b": ""}}, "headers.*"
        ),
        (PlaceholderKind.BLOCK, ("secret", "tok")): block({"value": "********"}, "value"),
        (PlaceholderKind.DOCUMENT, ("id-1",)): block({"config": {"a": 1}, "context": "c"}),
    }
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ prefect.variables.team }}", {"name": "data", "size": 3}),
        ("{{ prefect.variables.none }}", None),
        ("x{{ prefect.variables.none }}", "xNone"),
        ("{{ prefect.blocks.json.a }}", {"list": [{"k": 1}, 2], "values": "v"}),
        ("{{ prefect.blocks.json.a.value }}", {"list": [{"k": 1}, 2], "values": "v"}),
        ("{{ prefect.blocks.json.a.list[0].k }}", 1),
        ("{{ prefect.blocks.json.a.value.list[1] }}", 2),
        ("{{ prefect.blocks.json.a.values }}", "v"),
        ("{{ prefect.blocks.registry.hub.url }}/app", "hub.example/app"),
        ("{{ prefect.blocks.registry.hub.user.name }}", "u"),
        ("{{ prefect.blocks.headers.h.name }}", "n"),
        ({"$ref": {"block_document_id": "id-1"}}, {"config": {"a": 1}, "context": "c"}),
        ({"$ref": "#/definitions/x"}, {"$ref": "#/definitions/x"}),
    ],
)
def test_resolves_references(template: Any, expected: Any) -> None:
    assert render(template, Scope(references=LIBRARY)) == (expected, [])


@pytest.mark.parametrize(
    ("template", "code", "said"),
    [
        ("{{ prefect.variables.gone }}", "DC304", "no variable 'gone'"),
        ("{{ prefect.variables.team.name }}", "DC304", "no variable 'team.name'"),
        ("{{ prefect.blocks.json }}", "DC304", "no block 'json'"),
        ("{{ prefect.blocks.json.b }}", "DC304", "no block 'json/b'"),
        ("{{ prefect.blocks.json.a.nope }}", "DC305", "has no 'nope'"),
        ("{{ prefect.blocks.registry.hub.nope }}", "DC305", "has no 'nope'"),
        ("x{{ prefect.blocks.json.a }}", "DC305", "mapping or a list"),
        ("{{ prefect.blocks.secret.tok }}", "DC306", "secret"),
        ("{{ prefect.blocks.secret.tok.value }}", "DC306", "secret"),
        ("x-{{ prefect.blocks.secret.tok }}", "DC306", "secret"),
        ("{{ prefect.blocks.registry.hub }}", "DC306", "secret"),
        ("{{ prefect.blocks.registry.hub.user }}", "DC306", "secret"),
        ("{{ prefect.blocks.registry.hub.user.password }}", "DC306", "secret"),
        ("{{ prefect.blocks.headers.h.headers.b }}", "DC306", "secret"),
    ],
)
def test_reports_references_that_cannot_be_stored(template: str, code: str, said: str) -> None:
    _, (problem,) = render({"parameters": {"p": template}}, Scope(references=LIBRARY))
    assert problem.code == code
    assert said in problem.message
    assert "parameters.p" in problem.message
    assert "********" not in problem.message


def test_reads_each_source_once_in_one_batch() -> None:
    value = {
        "a": ["{{ prefect.variables.x }} {{ prefect.blocks.secret.tok }}"],
        "b": "{{ prefect.blocks.secret.tok.value }} {{ prefect.variables.x }} {{ $HOME }}",
        "c": {"$ref": {"block_document_id": "id-1"}},
        "d": "{{ prefect.blocks.incomplete }}",
    }
    found = [reference for _, reference in references(value)]
    assert [path for path, _ in references(value)] == [
        ("a", 0),
        ("a", 0),
        ("b",),
        ("b",),
        ("c",),
        ("d",),
    ]
    call = read_references(found)
    assert [(request.path, request.missing_ok) for request in next(call)] == [
        ("/variables/name/x", True),
        ("/block_types/slug/secret/block_documents/name/tok", True),
        ("/block_documents/id-1", True),
    ]
    with pytest.raises(StopIteration) as stop:
        call.send([{"value": 5}, block({"value": "********"}, "value"), None])
    library = stop.value.value
    assert library(Reference(PlaceholderKind.VARIABLE, "x")) == 5


def test_sends_no_request_without_references() -> None:
    with pytest.raises(StopIteration) as stop:
        next(read_references([]))
    assert stop.value.value == ReferenceValues({})


def test_secrets_for_steps_are_redacted_afterwards() -> None:
    call = read_references([Reference(PlaceholderKind.BLOCK, "secret.tok")], secrets=True)
    (request,) = next(call)
    assert isinstance(request, Request)
    assert request.path.endswith("/name/tok?include_secrets=true")
    with pytest.raises(StopIteration) as stop:
        call.send([block({"value": "opensesame-17"}, "value")])
    value, problems = render(
        "t={{ prefect.blocks.secret.tok }}", Scope(references=stop.value.value)
    )
    assert (value, problems) == ("t=opensesame-17", [])
    assert redact.redact(value) == "t=********"


def test_warns_of_references_that_the_worker_cannot_resolve() -> None:
    rendered = {
        "env": {
            "A": "{{ prefect.blocks.secret.tok }}",
            "B": "{{ prefect.variables.gone }}",
            "C": "{{ prefect.blocks.json.a.lst }}",
            "D": "{{ prefect.blocks.headers.h.headers.x }}",
        }
    }
    found = list(missing_references(rendered, LIBRARY))
    assert [(each.code, each.path) for each in found] == [
        ("DC304", ("env", "B")),
        ("DC305", ("env", "C")),
    ]
    assert {each.severity for each in found} == {Severity.WARNING}


@pytest.mark.parametrize(
    ("kind", "name", "secret"),
    [
        (PlaceholderKind.BLOCK, "secret.tok", True),
        (PlaceholderKind.BLOCK, "secret.tok.value", True),
        (PlaceholderKind.BLOCK, "registry.hub", True),
        (PlaceholderKind.BLOCK, "registry.hub.user", True),
        (PlaceholderKind.BLOCK, "registry.hub.url", False),
        (PlaceholderKind.BLOCK, "json.a", False),
        (PlaceholderKind.BLOCK, "secret.gone", False),
        (PlaceholderKind.DOCUMENT, "id-1", False),
        (PlaceholderKind.VARIABLE, "team", False),
    ],
)
def test_recognizes_secret_references(kind: PlaceholderKind, name: str, secret: bool) -> None:
    assert LIBRARY.is_secret(Reference(kind, name)) is secret
