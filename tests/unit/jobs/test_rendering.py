from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json, leaves
from deployctl.jobs.model import InvalidJobSpec
from deployctl.jobs.rendering import render_variables, resolve_references
from tests.unit.jobs.job_sources import LIBRARY, job_source

ENVIRON = {"HOME": "/home/me"}
VARIABLES = {
    "text": "t",
    "number": 5,
    "none": None,
    "tree": {"list": [{"key": "deep"}], "b": True},
    "braces": "{{ text }}",
    "block": "{{ prefect.blocks.secret.token }}",
    "run": "{{ ctx.flow_run.name }}",
}


def rendered(value: Json, variables: Json = VARIABLES, name: str = "comical-skink") -> Json:
    """What becomes of a value in a template; `"<gone>"` where its key disappears."""
    template = {"job_configuration": {"x": value}, "variables": {}}
    source = job_source(variables, template=template, name=name)
    return resolve_references(render_variables(source, ENVIRON), source, LIBRARY).get("x", "<gone>")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ("{{ text }}", "t"),
        ("{{text}}", "t"),
        ("{{ number }}", 5),
        ("{{ tree }}", {"list": [{"key": "deep"}], "b": True}),
        ("{{ tree.list[0].key }}", "deep"),
        ("{{ tree.nope }}", "<gone>"),
        ("{{ nope }}", "<gone>"),
        ("{{ none }}", "<gone>"),
        ("a {{ number }} b {{ text }}", "a 5 b t"),
        ("reg/{{ nope }}:1", "reg/:1"),
        ("{{ none }}-", "-"),
        ("{{ text }}{{ text }}", "tt"),
        ({"keep": 1, "drop": "{{ nope }}"}, {"keep": 1}),
        (["{{ nope }}", "a", ["{{ nope }}"]], ["a", []]),
        ("{{ $HOME }}", "/home/me"),
        ("{{ $HOME }}/x{{ $NOPE }}", "/home/me/x"),
        ("{{ $NOPE }}", "<gone>"),
        ("{{ braces }}", "{{ text }}"),
        ("a {{ braces }}", "a {{ text }}"),
        ("{{ text | upper }}", "{{ text | upper }}"),
        ("{{ block }}", "s3cret"),
        ("Bearer {{ block }}", "Bearer s3cret"),
        ("{{ prefect.blocks.json.plain.b.c }}", 2),
        ("{{ prefect.blocks.json.plain }}", {"a": "1", "b": {"c": 2}}),
        ("{{ prefect.variables.image }}", "python:3.12"),
        ("r/{{ prefect.variables.image }}", "r/python:3.12"),
        ("{{ prefect.variables.nope }}", ""),
        ({"$ref": {"block_document_id": "id-1"}}, {"config": {"x": 1}, "context_name": "c"}),
        ("{{ ctx.flow_run.name }}", "comical-skink"),
        ("{{ ctx.flow.name }}/{{ ctx.flow_run.nope }}", "hello/"),
        ("{{ ctx.flow_run.nope }}", "<gone>"),
        ("{{ run }}-x", "comical-skink-x"),
    ],
)
def test_template_language(value: Json, expected: Json) -> None:
    assert rendered(value) == expected


def test_run_name_cannot_refer_to_a_secret() -> None:
    name = "{{ prefect.blocks.secret.token }}"
    assert rendered("{{ ctx.flow_run.name }}", name=name) == name


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{{ prefect.blocks.secret.other }}", "no block 'secret/other'"),
        ("{{ prefect.blocks.json.plain.nope }}", "no 'nope'"),
        ("{{ prefect.blocks.secret }}", "no block 'secret'"),
        ("x {{ prefect.blocks.json.plain }}", "cannot be part of a longer text"),
        ({"$ref": {"block_document_id": "id-2"}}, "no block with the id 'id-2'"),
    ],
)
def test_block_without_value_is_reported(value: Json, reason: str) -> None:
    with pytest.raises(InvalidJobSpec, match=reason):
        rendered(value)


@pytest.mark.parametrize(
    ("template", "where"),
    [
        ({"variables": {}}, "job_configuration"),
        ({"job_configuration": []}, "job_configuration"),
        ({"job_configuration": {}, "variables": ["x"]}, "variables"),
        ("text", "base_job_template"),
    ],
)
def test_incomplete_template_is_reported(template: Json, where: str) -> None:
    with pytest.raises(InvalidJobSpec, match=where):
        render_variables(job_source(template=template), {})


@pytest.mark.parametrize("missing", ["variables", "properties"])
def test_template_without_schema(missing: str) -> None:
    schema: dict[str, Any] = {"job_configuration": {"x": "{{ x }}"}}
    if missing == "properties":
        schema["variables"] = {}
    assert render_variables(job_source({"x": 1}, template=schema), {})["x"] == 1


TREES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text().filter(lambda text: "{{" not in text)),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text().filter(lambda key: key != "$ref"), inner)
    ),
    max_leaves=10,
)


@given(TREES)
def test_values_without_placeholders_are_unchanged(tree: Json) -> None:
    assert rendered(tree, {}) == tree


@given(TREES)
def test_placeholder_alone_keeps_type(tree: Json) -> None:
    assert rendered(["{{ value }}"], {"value": tree}) == [tree]


@given(st.lists(st.sampled_from(["{{ text }}", "{{ none }}", "{{ nope }}", "{{ $NOPE }}", "x"])))
def test_placeholders_give_no_null(parts: list[str]) -> None:
    found = rendered({"all": "".join(parts), "each": parts})
    assert all(leaf is not None for _, leaf in leaves(found))
