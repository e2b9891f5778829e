"""Diagnostics that a user sees for wrong files and options. No server is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Cli
from tests.support.project import write_project


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("deployments: {a: 1}", 1, "1 | deployments: {a: 1}"),
        ("deployment: []", 64, "1 | deployment: []"),
        ("name: *nope", 1, "1 | name: *nope"),
        ("a: [", 1, "prefect.yaml:"),
        ("deployments:\n- nmae: a\n", 1, "Did you mean 'name'?"),
        ("a: 1\n---\nb: 2\n", 1, "more than one YAML document"),
        ("", 1, "the file is empty"),
        ("- a\n", 1, "prefect.yaml:1:1"),
    ],
)
def test_diagnostic_shows_position_in_file(
    text: str, code: int, shown: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "prefect.yaml").write_text(text)
    result = cli("validate", cwd=tmp_path)
    assert result.code == code
    assert shown in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_file_directory_and_invalid_encoding(cli: Cli, tmp_path: Path) -> None:
    assert "prefect.yaml" in cli("validate", cwd=tmp_path).stderr
    (tmp_path / "prefect.yaml").mkdir()
    assert cli("validate", cwd=tmp_path).code == 1
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    result = cli("validate", "--prefect-file", "bytes.yaml", cwd=tmp_path)
    assert result.code == 1
    assert "UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("prefect.deployments.steps.run_shell_script: {script: 'false'}", "DC005"),
        (
            "prefect_docker.projects.steps.build_docker_image: {image_name: a, dockerfile: none}",
            "DC703",
        ),
    ],
)
def test_failed_step_has_its_position(line: str, code: str, cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path,
        f"""
        deployments: [{{name: daily, entrypoint: 'flows.py:hello'}}]
        build:
          - prefect.deployments.steps.run_shell_script: {{script: 'true'}}
          - {line}
        """,
    )
    result = cli("build", "--output", "json", "--builder", "assemble", cwd=tmp_path)
    (problem,) = json.loads(result.stdout)["diagnostics"]
    assert (problem["code"], problem["span"]["line"]) == (code, 4)


def test_readme_shows_real_diagnostics(cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path,
        """
        deployments:
          - name: daily
            entrypoint: flows.py:helo
            job_variables: {image: x}
            work_pool: {name: pool}
        """,
    )
    result = cli("validate", cwd=tmp_path)
    assert result.code == 1
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for line in result.stderr.splitlines():
        assert line in readme


def test_missing_api_url_error_names_the_setting(cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path, "deployments: [{name: d, entrypoint: flows.py:hello, work_pool: {name: p}}]"
    )
    result = cli("plan", cwd=tmp_path)
    assert result.code == 1
    assert "PREFECT_API_URL" in result.stderr


def test_explain_prints_page_and_rejects_unknown_code(cli: Cli, tmp_path: Path) -> None:
    assert "work pool" in cli("explain", "dc510", cwd=tmp_path).stdout
    assert cli("explain", "DC999", cwd=tmp_path).code == 64
    assert cli("deploy", "--no-such-option", cwd=tmp_path).code == 64


OPTIONS = [
    *("--no-prompt", "--name", "d", "-d", "text", "--version", "1", "--version-type"),
    *("prefect:simple", "-t", "a", "--tag", "b", "--concurrency-limit", "3"),
    *("--collision-strategy", "ENQUEUE", "--pool", "p", "-q", "q", "--job-variable", "a=1"),
    *("-jv", "b=2", "--jv", "c=3", "-v", "d=4", "--variable", '{"e": "x=y"}'),
    *("--cron", "0 1 * * *", "--interval", "60", "--rrule", "FREQ=DAILY", "--timezone", "UTC"),
    *("--anchor-date", "2026-01-01T00:00:00", "--param", "times=2", "--params", '{"name": "n"}'),
    *("--trigger", '{"type": "event", "expect": ["x"]}', "--enforce-parameter-schema"),
    *("--prefect-file", "prefect.yaml", "--profile", "none-of-this-name", "--empty-tag"),
    *("--sla", '{"name": "s", "duration": 60}', "--no-all"),
]


def test_accepts_every_option_of_prefect_deploy(cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path, "deployments: [{name: d, entrypoint: flows.py:hello, work_pool: {name: p}}]"
    )
    result = cli("--no-prompt", "deploy", "flows.py:hello", *OPTIONS, cwd=tmp_path)
    assert result.code == 1, result.stderr
    assert "none-of-this-name" in result.stderr
    options = [each for each in OPTIONS if each not in ("--profile", "none-of-this-name")]
    url = ("--api-url", "http://127.0.0.1:1/api")
    result = cli("deploy", "flows.py:hello", *options, *url, cwd=tmp_path)
    assert result.code == 1, result.stderr
    assert "DC010" in result.stderr
