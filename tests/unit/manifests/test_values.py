"""Values files: unknown, invalid, missing and refused values; files on top of each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployctl import __version__
from tests.support.in_process import run_in_process
from tests.support.prefect_cli import CommandResult

GOOD = """\
worker:
  config: {workPool: p}
  selfHostedServerApiConfig: {apiUrl: http://prefect/api}
"""


def run(*arguments: str) -> CommandResult:
    return run_in_process(["manifests", "worker", *arguments], cwd=Path.cwd(), env={})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "worker: {config: {workpool: p}}",
            ["DC801", "values.yaml:1:19", "Did you mean 'workPool'"],
        ),
        ("wroker: {}", ["DC801", "Did you mean 'worker'"]),
        ("worker: {image: {prefectTag: 1.10}}", ["DC802", "must be text", "Quote it."]),
        ("worker: {apiConfig: clod}", ["DC802", "one of 'cloud'"]),
        ("worker: {config: {limit: 0}}", ["DC802", "at least 1"]),
        ("worker: [1]", ["DC802", "'worker' must be a mapping"]),
        ("worker: {basicAuth: {authstring: x}}", ["DC801", "Did you mean 'authString'"]),
        ("a: [", ["DC103"]),
    ],
)
def test_wrong_values_are_shown_at_their_place(text: str, shown: list[str], tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    result = run("--values", str(file))
    assert result.code == 1
    assert result.stdout == ""
    for each in shown:
        assert each in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("worker: {}", ["'worker.config.workPool' is missing", "--pool"]),
        ("worker: {config: {workPool: p}}", ["selfHostedServerApiConfig.apiUrl", "--api-url"]),
        (
            "worker: {config: {workPool: p}, apiConfig: cloud}",
            ["cloudApiConfig.accountId", "cloudApiConfig.workspaceId"],
        ),
        (GOOD + "  basicAuth: {enabled: true, authString: 'me:hunter22'}", ["plain text"]),
        (
            GOOD.replace("http://", "http://me:hunter22@"),
            ["the password in 'apiUrl' would stand in the manifest"],
        ),
        (GOOD + "  basicAuth: {enabled: true}", ["without 'existingSecret'"]),
        (
            GOOD + "  extraEnvVars: [{name: PREFECT_API_KEY, value: hunter22}]",
            ["'PREFECT_API_KEY' would stand in the manifest"],
        ),
    ],
)
def test_impossible_values_are_refused(text: str, shown: list[str], tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    result = run("--values", str(file))
    assert (result.code, result.stdout) == (1, "")
    assert "hunter22" not in result.stderr
    for each in shown:
        assert each in result.stderr


def test_later_files_and_options_have_precedence(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(GOOD + "  replicaCount: 2\n  nodeSelector: {a: b}\n  podSecurityContext: {}\n")
    second.write_text("worker: {nodeSelector: {c: d}, resources: null, replicaCount: 3}\n")
    files = ("--values", str(first), "--values", str(second))
    result = run(*files, "--pool", "q", "--image", "localhost:5000/i:2", "--replicas", "5")
    deployment = next(
        each for each in yaml.safe_load_all(result.stdout) if each["kind"] == "Deployment"
    )
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert deployment["spec"]["replicas"] == 5
    assert spec["nodeSelector"] == {"a": "b", "c": "d"}
    assert "resources" not in container
    assert container["image"] == "localhost:5000/i:2"
    assert container["args"][:3] == ["worker", "--pool", "q"]


def test_options_alone_are_enough(tmp_path: Path) -> None:
    template = tmp_path / "t.json"
    template.write_text('{"job_configuration": {}, "variables": {"properties": {}}}')
    arguments = ("--pool", "p", "--api-url", "http://x/api", "--auth-secret", "s")
    result = run(
        *(*arguments, "-n", "ns", "--job-namespace", "a", "--job-namespace", "b"),
        *("--base-job-template", str(template), "-q", "fast", "--limit", "4", "--name", "w"),
    )
    assert result.code == 0
    objects = list(yaml.safe_load_all(result.stdout))
    assert {each["metadata"]["namespace"] for each in objects} == {"ns", "a", "b"}
    config_map = next(each for each in objects if each["kind"] == "ConfigMap")
    assert '"properties": {}' in config_map["data"]["baseJobTemplate.json"]


def test_null_empties_a_value(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        GOOD
        + "  extraEnvVars:\n  image:\n  basicAuth:\n  initContainer:\n  podLabels:\n"
        + "commonLabels:\nserviceAccount:\n"
    )
    result = run("--values", str(file))
    assert result.code == 0, result.stderr
    assert f"image: deployctl:{__version__}\n" in result.stdout
    file.write_text(
        "worker:\n  config: {workPool: p, prefetchSeconds: , baseJobTemplate: "
        "{existingConfigMapName: }}\n  selfHostedServerApiConfig: {apiUrl: http://x, basicAuth: }\n"
    )
    result = run("--values", str(file))
    assert result.code == 0, result.stderr
    assert "None" not in result.stdout
    assert "null" not in result.stdout


def test_empty_file_changes_nothing(tmp_path: Path) -> None:
    file, empty = tmp_path / "values.yaml", tmp_path / "empty.yaml"
    file.write_text(GOOD)
    empty.write_text("")
    alone = run("--values", str(file))
    assert alone.code == 0
    assert run("--values", str(file), "--values", str(empty)) == alone


def test_missing_file_names_the_option(tmp_path: Path) -> None:
    result = run("--values", str(tmp_path / "no.yaml"))
    assert "name another file with --values" in result.stderr
