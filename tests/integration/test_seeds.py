"""Variables and blocks of a seed file are created on real servers, and updated if they differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.app.operating.seeds import apply_seeds
from deployctl.core.diagnostics import Report
from deployctl.core.errors import ApiError
from deployctl.core.redact import MASK, redact
from deployctl.project.seeds import read_seeds
from tests.support.api import Api
from tests.support.servers import Server

SEEDS = """
variables:
  seeds_region: {value: eu, tags: [dev]}
blocks:
- {type: secret, name: seeds-token, values: {value: "{{ $SEED }}"}}
- type: webhook
  name: seeds-hook
  values: {url: "https://example.com/path-of-the-hook"}
"""


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    with Api(server.api_url) as api:
        api.call("POST", "/block_types/install_system_block_types")
        yield api


def seed(server: Server, folder: Path, text: str) -> tuple[str, Report]:
    path, report = folder / "dev.yaml", Report()
    path.write_text(text)
    seeds, _ = read_seeds(path, {"SEED": "secret-of-the-seeds"}, report)
    assert seeds is not None
    with Session(Settings(api_url=server.api_url)) as session:
        return run(apply_seeds(seeds, report), session), report


def block(api: Api, type_: str, name: str) -> dict[str, object]:
    path = f"/block_types/slug/{type_}/block_documents/name/{name}?include_secrets=true"
    found: dict[str, object] = api.call("GET", path)["data"]
    return found


def test_creates_what_is_missing_and_updates_what_differs(
    server: Server, api: Api, tmp_path: Path
) -> None:
    assert seed(server, tmp_path, SEEDS)[0] == "3 created"
    assert seed(server, tmp_path, SEEDS)[0] == "3 unchanged"
    changed = SEEDS.replace("value: eu", "value: us").replace("{{ $SEED }}", "another-secret")
    assert seed(server, tmp_path, changed)[0] == "2 updated, 1 unchanged"
    variable = api.call("GET", "/variables/name/seeds_region")
    assert (variable["value"], variable["tags"]) == ("us", ["dev"])
    assert block(api, "secret", "seeds-token") == {"value": "another-secret"}
    assert block(api, "webhook", "seeds-hook")["url"] == "https://example.com/path-of-the-hook"
    assert redact("https://example.com/path-of-the-hook") == MASK


@pytest.mark.parametrize("value", ["5", "1.50", "1e20", "true"])
def test_value_that_is_a_number_is_left_unchanged(
    server: Server, api: Api, tmp_path: Path, value: str
) -> None:
    text = f"variables: {{seeds_number: {{value: {value}}}}}"
    seed(server, tmp_path, text)
    assert seed(server, tmp_path, text)[0] == "1 unchanged"
    as_text = text.replace(value, "'another text'")
    assert seed(server, tmp_path, as_text)[0] == "1 updated"
    assert seed(server, tmp_path, text)[0] == "1 updated"
    assert api.call("GET", "/variables/name/seeds_number")["value"] != "another text"


def test_a_block_can_refer_to_one_before_it(server: Server, api: Api, tmp_path: Path) -> None:
    inner = api.call("POST", "/block_types/", {"name": "Inner", "slug": "seeds-inner"})["id"]
    outer = api.call("POST", "/block_types/", {"name": "Outer", "slug": "seeds-outer"})["id"]
    fields = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    own = {**fields, "title": "Inner", "block_type_slug": "seeds-inner"}
    api.call("POST", "/block_schemas/", {"block_type_id": inner, "fields": own})
    nested = {
        "title": "Outer",
        "type": "object",
        "block_type_slug": "seeds-outer",
        "properties": {"inner": {"$ref": "#/definitions/Inner"}},
        "block_schema_references": {
            "inner": {
                "block_type_slug": "seeds-inner",
                "block_schema_checksum": api.call(
                    "POST",
                    "/block_schemas/filter",
                    {"block_schemas": {"block_type_id": {"any_": [inner]}}},
                )[0]["checksum"],
            }
        },
        "definitions": {"Inner": own},
    }
    api.call("POST", "/block_schemas/", {"block_type_id": outer, "fields": nested})
    text = (
        "blocks:\n"
        "  a: {type: seeds-inner, values: {key: k}}\n"
        "  b: {type: seeds-outer, values: {inner: '{{ prefect.blocks.seeds-inner.a }}'}}\n"
    )
    assert seed(server, tmp_path, text)[0] == "2 created"
    assert block(api, "seeds-outer", "b") == {"inner": {"key": "k"}}
    assert seed(server, tmp_path, text)[0] == "2 unchanged"


def test_fields_that_the_type_does_not_have_are_errors(
    server: Server, api: Api, tmp_path: Path
) -> None:
    text = "blocks:\n  wrong: {type: secret, values: {valu: x}}\n"
    done, report = seed(server, tmp_path, text)
    assert done == ""
    assert [(each.code, each.help) for each in report] == [
        ("DC120", "Did you mean 'value'?"),
        ("DC127", "Add it under 'values'."),
    ]
    assert all(each.span and each.span.line == 2 for each in report)
    assert api.answer("GET", "/block_types/slug/secret/block_documents/name/wrong").is_error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks:\n  a: {type: secrt, values: {}}\n", "the server has no block type 'secrt'"),
        ("blocks:\n  A_B: {type: secret, values: {value: 'x'}}\n", "rejected by the server"),
        ("variables:\n  'A b': x\n", "rejected by the server"),
        (
            "blocks:\n  c: {type: secret, values: {value: '{{ prefect.blocks.secret.none }}'}}\n",
            "block 'secret/none'",
        ),
    ],
)
def test_error_of_the_server_names_the_line(
    server: Server,
    api: Api,  # noqa: ARG001
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    with pytest.raises(ApiError, match=message) as raised:
        seed(server, tmp_path, text)
    assert raised.value.span is not None
    assert raised.value.span.line == 2
