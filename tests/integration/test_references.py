"""Blocks and variables of real servers are read, secrets only where they are not stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.templating.references import ReferenceValues, read_references, references
from deployctl.templating.render import Scope, render
from tests.support.api import Api
from tests.support.servers import Server

SECRET = "opensesame-of-this-test"
TEMPLATES = {
    "token": "{{ prefect.blocks.secret.references-tok }}",
    "team": "{{ prefect.variables.references_team }}",
    "gone": "{{ prefect.variables.references_gone }}",
}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    """A server that has a secret and a variable."""
    with Api(server.api_url) as api:
        api.call("POST", "/block_types/install_system_block_types")
        type_id = api.call("GET", "/block_types/slug/secret")["id"]
        where = {"block_schemas": {"block_type_id": {"any_": [type_id]}}}
        schema_id = api.call("POST", "/block_schemas/filter", where)[0]["id"]
        block = {"name": "references-tok", "data": {"value": SECRET}, "block_type_id": type_id}
        api.call("POST", "/block_documents/", {**block, "block_schema_id": schema_id})
        api.call("POST", "/variables/", {"name": "references_team", "value": "data"})
        yield api


def read(api: Api, *, secrets: bool) -> tuple[ReferenceValues, str]:
    """The reference values, and all responses of the server."""
    api_call = read_references((ref for _, ref in references(TEMPLATES)), secrets=secrets)
    answers = [api.answer(request.method, request.path) for request in next(api_call)]
    with pytest.raises(StopIteration) as stop:
        api_call.send([answer.json() if answer.is_success else None for answer in answers])
    return stop.value.value, "".join(answer.text for answer in answers)


def test_secret_is_not_read_where_it_would_be_stored(api: Api) -> None:
    library, answered = read(api, secrets=False)
    value, problems = render(TEMPLATES, Scope(references=library))
    assert value["team"] == "data"
    assert [problem.code for problem in problems] == ["DC306", "DC304"]
    assert SECRET not in answered


def test_steps_get_the_secret(api: Api) -> None:
    library, _ = read(api, secrets=True)
    value, _ = render(TEMPLATES["token"], Scope(references=library))
    assert value == SECRET
