from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json
from deployctl.jobs.job_spec import build_job_spec, required_references
from deployctl.jobs.model import EXECUTE_COMMAND, InvalidJobSpec, Limits
from tests.unit.jobs.job_sources import (
    INHERITED,
    LIBRARY,
    job_source,
    job_spec,
    manifest_template,
    pod_of,
)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (None, EXECUTE_COMMAND),
        ("", EXECUTE_COMMAND),
        ("python -m app 'two words'", ("python", "-m", "app", "two words")),
    ],
)
def test_command(command: Json, expected: tuple[str, ...]) -> None:
    assert job_spec({"command": command}).command == expected


@pytest.mark.parametrize(
    ("container", "configuration", "expected"),
    [
        ({"args": ["a", 1]}, {"command": "b"}, ("a", "1")),
        ({}, {"command": "b c"}, ("b", "c")),
        ({}, {"command": ["b", "c d"]}, ("b", "c d")),
        ({"args": []}, {}, EXECUTE_COMMAND),
    ],
)
def test_arguments_of_the_manifest_win(
    container: Json, configuration: Json, expected: tuple[str, ...]
) -> None:
    template = manifest_template(pod_of(**container), **configuration)
    assert job_spec(template=template).command == expected


@pytest.mark.parametrize(
    ("command", "reason"), [("echo 'x", "quotation mark"), ({"a": 1}, "neither text nor a list")]
)
def test_invalid_command_is_reported(command: Json, reason: str) -> None:
    template = manifest_template(pod_of(), command=command)
    with pytest.raises(InvalidJobSpec, match=reason):
        job_spec(template=template)


def test_precedence_of_environment_sources() -> None:
    manifest = pod_of(
        env=[
            {"name": "PREFECT_API_URL", "value": "http://in-the-cluster/api"},
            {"name": "A", "value": "container"},
            {"name": "B", "value": "container"},
        ]
    )
    template = manifest_template(manifest, env="{{ env }}")
    found = job_spec({"env": {"A": "job", "PREFECT_API_KEY": None}}, template=template)
    assert found.env["PREFECT_API_URL"] == "http://in-the-cluster/api"
    assert found.env["A"] == "job"
    assert found.env["B"] == "container"
    assert "PREFECT_API_KEY" not in found.env


def test_value_from_is_separate() -> None:
    source = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    found = job_spec({"env": [{"name": "PREFECT_API_KEY", **source}]})
    assert found.env_from == {"PREFECT_API_KEY": source}
    assert "PREFECT_API_KEY" not in found.env


@pytest.mark.parametrize(
    ("deployment", "secret"),
    [
        ({}, {"PREFECT_API_KEY"}),
        ({"env": {"PREFECT_API_KEY": None}}, set()),
        ({"env": {"MINE": "the-key"}}, {"PREFECT_API_KEY", "MINE"}),
        ({"env": {"T": "{{ prefect.blocks.secret.token }}"}}, {"PREFECT_API_KEY", "T"}),
        ({"env": {"T": "Bearer {{ prefect.blocks.secret.token }}"}}, {"PREFECT_API_KEY", "T"}),
        ({"env": {"I": "{{ prefect.variables.image }}"}}, {"PREFECT_API_KEY"}),
        ({"env": {"P": "{{ prefect.blocks.json.plain.a }}"}}, {"PREFECT_API_KEY"}),
    ],
)
def test_secret_variables(deployment: Json, secret: set[str]) -> None:
    assert job_spec(deployment).secret_env == secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_AUTH_STRING", "user:password"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"a": "b"}'),
        ("PREFECT_API_URL", "http://user:password@prefect/api"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql://db"),
    ],
)
def test_worker_credentials_are_secret(name: str, value: str) -> None:
    found = build_job_spec(
        job_source(), LIBRARY, environ={}, inherited={name: value, "PREFECT_X": "1"}
    )
    assert found.secret_env == {name}


def test_repr_hides_secrets() -> None:
    found = job_spec({"env": {"T": "{{ prefect.blocks.secret.token }}"}})
    assert "s3cret" not in repr(found)
    assert "the-key" not in repr(found)


def test_references_of_template_and_variables() -> None:
    deployment = {"image": "{{ prefect.variables.image }}", "nowhere": "{{ prefect.variables.x }}"}
    run = {"cluster_config": {"$ref": {"block_document_id": "id-1"}}}
    found = {str(reference) for reference in required_references(job_source(deployment, run), {})}
    assert found == {"variable 'image'", "block with the id 'id-1'"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Limits(60, start_timeout_explicit=False, stream_output=True)),
        (
            {"pod_watch_timeout_seconds": 60},
            Limits(60, start_timeout_explicit=True, stream_output=True),
        ),
        (
            {"pod_watch_timeout_seconds": 300},
            Limits(300, start_timeout_explicit=True, stream_output=True),
        ),
        ({"job_watch_timeout_seconds": 90}, Limits(60, run_timeout=90, stream_output=True)),
        ({"job_watch_timeout_seconds": 0}, Limits(60, stream_output=True)),
        ({"stream_output": False}, Limits(60)),
        ({"stream_output": "No"}, Limits(60)),
        ({"stream_output": 0}, Limits(60)),
        ({"stream_output": "on"}, Limits(60, stream_output=True)),
        (
            {"command": "python -m prefect.engine"},
            Limits(60, ignores_cancellation=True, stream_output=True),
        ),
        ({"command": "tini -- prefect flow-run execute"}, Limits(60, stream_output=True)),
    ],
)
def test_limits(variables: Json, expected: Limits) -> None:
    assert job_spec(variables).limits == expected
    assert job_spec({}, variables).limits == expected


def test_limit_set_by_the_pool_is_explicit() -> None:
    template = manifest_template(pod_of(), pod_watch_timeout_seconds="120")
    assert job_spec(template=template).limits == Limits(
        120, start_timeout_explicit=True, stream_output=True
    )


def test_invalid_limit_is_reported() -> None:
    template = manifest_template(pod_of(), job_watch_timeout_seconds="soon")
    with pytest.raises(InvalidJobSpec, match="job_watch_timeout_seconds"):
        job_spec(template=template)


@pytest.mark.parametrize(
    ("metadata", "variables", "prefix"),
    [
        ({}, {}, "comical-skink"),
        ({"generateName": "{{ name }}-"}, {}, "comical-skink"),
        ({"generateName": "{{ name }}-"}, {"name": "Mine! {{ ctx.flow.name }}"}, "mine-hello"),
        ({"generateName": "etl-{{ name }}-"}, {"name": "x"}, "etl-x"),
        ({"name": "fixed"}, {"name": "x"}, "fixed"),
        ({}, {"name": "!!!"}, "comical-skink"),
    ],
)
def test_job_name(metadata: Json, variables: Json, prefix: str) -> None:
    manifest = {"metadata": metadata, **pod_of()}
    template = manifest_template(manifest, name="{{ name }}")
    assert re.fullmatch(f"{prefix}-[0-9a-f]{{10}}", job_spec(variables, template=template).name)


def test_job_name_is_stable_per_attempt() -> None:
    first = job_spec(attempt="a")
    assert job_spec(attempt="a") == first
    assert job_spec(attempt="b").name != first.name


@given(st.text())
def test_job_name_is_a_dns_label(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?", job_spec(name=name).name)


def test_run_without_deployment() -> None:
    source = job_source()
    orphan = type(source)(
        source.flow_run, None, None, source.work_pool, "a", "worker", source.server_version
    )
    found = build_job_spec(orphan, LIBRARY, environ={}, inherited=INHERITED)
    assert not any(label.startswith("prefect.io/deployment") for label in found.labels)
