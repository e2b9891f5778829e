from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json
from deployctl.jobs.precedence import effective_variables

POOL: Any = {
    "image": {"default": "pool"},
    "ttl": {"default": None},
    "env": {"default": {"P": "p", "A": "pool"}},
    "free": {"type": "string"},
}


@pytest.mark.parametrize(
    ("deployment", "run", "expected"),
    [
        ({}, {}, {"image": "pool", "env": {"P": "p", "A": "pool"}}),
        ({"image": "d"}, {}, {"image": "d"}),
        ({"image": "d"}, {"image": "r"}, {"image": "r"}),
        ({"image": "d"}, {"image": None}, {"image": None}),
        ({"labels": {"a": 1}}, {"labels": {"b": 2}}, {"labels": {"b": 2}}),
        ({"env": {"A": "d"}}, {"env": {"B": "r"}}, {"env": {"P": "p", "A": "d", "B": "r"}}),
        ({"env": {"A": "d"}}, {"env": None}, {"env": {"P": "p", "A": "d"}}),
        ({"env": {"P": None}}, {}, {"env": {"P": None, "A": "pool"}}),
        ({"env.A": "d"}, {}, {"env": {"P": "p", "A": "d"}}),
        ({"env.A": "d", "env": {"A": "plain"}}, {}, {"env": {"P": "p", "A": "plain"}}),
        ({"env": {"A": "d"}}, {"env.A": "r"}, {"env": {"P": "p", "A": "r"}}),
        ({"env.A": "d"}, {"env": {"A": "r"}}, {"env": {"P": "p", "A": "r"}}),
        ({"a.b.c": 1}, {"a.b.d": 2}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"a": {"x": 1}}, {"a.y": 2}, {"a": {"x": 1, "y": 2}}),
        ({"a": "text", "a.b": 1}, {}, {"a": "text"}),
        ({"a.b": 1, "a.b.c": 2}, {}, {"a": {"b": {"c": 2}}}),
        (
            {"env": [{"name": "A", "value": "d"}]},
            {"env": [{"name": "S", "valueFrom": {"fieldRef": {}}}]},
            {"env": {"P": "p", "A": "d", "S": {"valueFrom": {"fieldRef": {}}}}},
        ),
        ({"env": [{"name": "A", "value": "d"}]}, {"env.A": "r"}, {"env": {"P": "p", "A": "r"}}),
    ],
)
def test_precedence(deployment: Json, run: Json, expected: dict[str, Json]) -> None:
    found = effective_variables(POOL, deployment, run)
    assert {name: found.get(name) for name in expected} == expected


PLAIN = st.dictionaries(
    st.sampled_from(["image", "ttl", "a", "b"]), st.one_of(st.none(), st.integers(), st.text())
)
ENV = st.dictionaries(st.sampled_from("ABC"), st.one_of(st.none(), st.text()))


@given(PLAIN, PLAIN, ENV, ENV)
def test_run_overrides_deployment_overrides_pool(
    deployment: Any, run: Any, env: Any, run_env: Any
) -> None:
    found = effective_variables(POOL, {**deployment, "env": env}, {**run, "env": run_env})
    pool = {"image": "pool"}
    assert found == {
        **pool,
        **deployment,
        **run,
        "env": {"P": "p", "A": "pool", **env, **run_env},
    }


@given(ENV, ENV)
def test_dotted_name_equals_mapping(env: Any, run_env: Any) -> None:
    dotted = {f"env.{name}": value for name, value in run_env.items()}
    assert effective_variables(POOL, {"env": env}, dotted) == effective_variables(
        POOL, {"env": env}, {"env": run_env}
    )


@given(PLAIN, ENV)
def test_arguments_are_not_changed(variables: Any, env: Any) -> None:
    given_, pool = {**variables, "env": env, "env.A": "x"}, {"env": {"default": dict(env)}}
    before = repr((given_, pool))
    effective_variables(pool, given_, given_)
    assert repr((given_, pool)) == before
