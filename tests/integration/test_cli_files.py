"""What a person sees of files that are wrong, from the command itself; no server is needed."""

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
def test_a_wrong_file_is_shown_where_it_is_wrong(
    text: str, code: int, shown: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "prefect.yaml").write_text(text)
    ended = cli("validate", cwd=tmp_path)
    assert ended.code == code
    assert shown in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_file_a_folder_and_bytes_that_are_no_text(cli: Cli, tmp_path: Path) -> None:
    assert "prefect.yaml" in cli("validate", cwd=tmp_path).stderr
    (tmp_path / "prefect.yaml").mkdir()
    assert cli("validate", cwd=tmp_path).code == 1
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    ended = cli("validate", "--prefect-file", "bytes.yaml", cwd=tmp_path)
    assert ended.code == 1
    assert "UTF-8" in ended.stderr


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
def test_a_step_that_fails_is_shown_where_it_stands(
    line: str, code: str, cli: Cli, tmp_path: Path
) -> None:
    write_project(
        tmp_path,
        f"""
        deployments: [{{name: daily, entrypoint: 'flows.py:hello'}}]
        build:
          - prefect.deployments.steps.run_shell_script: {{script: 'true'}}
          - {line}
        """,
    )
    ended = cli("build", "--output", "json", "--builder", "assemble", cwd=tmp_path)
    (problem,) = json.loads(ended.stdout)["diagnostics"]
    assert (problem["code"], problem["span"]["line"]) == (code, 4)


def test_the_example_of_the_readme(cli: Cli, tmp_path: Path) -> None:
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
    ended = cli("validate", cwd=tmp_path)
    assert ended.code == 1
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for line in ended.stderr.splitlines():
        assert line in readme


def test_without_a_server_set_the_error_says_how_to_set_one(cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path, "deployments: [{name: d, entrypoint: flows.py:hello, work_pool: {name: p}}]"
    )
    ended = cli("plan", cwd=tmp_path)
    assert ended.code == 1
    assert "PREFECT_API_URL" in ended.stderr


def test_a_page_is_explained_and_an_unknown_code_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
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


def test_every_option_of_prefect_deploy_is_accepted(cli: Cli, tmp_path: Path) -> None:
    write_project(
        tmp_path, "deployments: [{name: d, entrypoint: flows.py:hello, work_pool: {name: p}}]"
    )
    ended = cli("--no-prompt", "deploy", "flows.py:hello", *OPTIONS, cwd=tmp_path)
    assert ended.code == 1, ended.stderr
    assert "none-of-this-name" in ended.stderr
    options = [each for each in OPTIONS if each not in ("--profile", "none-of-this-name")]
    url = ("--api-url", "http://127.0.0.1:1/api")
    ended = cli("deploy", "flows.py:hello", *options, *url, cwd=tmp_path)
    assert ended.code == 1, ended.stderr
    assert "DC010" in ended.stderr
