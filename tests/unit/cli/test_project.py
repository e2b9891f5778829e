from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployctl.cli.project import load_options
from deployctl.cli.project_options import DeployOptions, ImageOptions, OverrideOptions
from deployctl.cli.selection_options import SelectionOptions, expand_files
from deployctl.core.errors import UsageError
from tests.support.in_process import run_in_process
from tests.support.project import write_project


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (ImageOptions(image=""), "--image is empty"),
        (ImageOptions(images=Path()), "--images is empty"),
        (ImageOptions(images=Path("a"), image="a"), "--images excludes"),
        (ImageOptions(images=Path("a"), image=""), "--images excludes"),
        (ImageOptions(images=Path("a"), skip_build=True), "--images excludes"),
    ],
)
def test_rejects_conflicting_image_options(images: ImageOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_options(SelectionOptions(), OverrideOptions(), DeployOptions(), images)


@pytest.mark.parametrize(("name", "shown"), [("prod", "-n prod"), ("my prod", "-n 'my prod'")])
def test_name_in_place_of_an_entrypoint_suggests_the_option(name: str, shown: str) -> None:
    selection = SelectionOptions(entrypoint=name)
    with pytest.raises(UsageError, match="is not FILE:FLOW") as raised:
        load_options(selection, OverrideOptions(), DeployOptions(), ImageOptions())
    assert f"`{shown}`" in (raised.value.help or "")


@pytest.mark.parametrize("entrypoint", ["flows.py:etl", "package.module.etl", None])
def test_entrypoints_are_selections(entrypoint: str | None) -> None:
    options = (SelectionOptions(entrypoint=entrypoint), OverrideOptions())
    loaded = load_options(*options, DeployOptions(), ImageOptions())
    assert loaded.selection.entrypoint == (entrypoint or "")


def test_env_files_set_what_is_not_set(tmp_path: Path) -> None:
    """The environment wins over every file, and the last file over the others."""
    text = """
        deployments:
          - {name: "{{ $A }}-{{ $B }}-{{ $C }}", entrypoint: "flows.py:hello", work_pool: {name: p}}
    """
    write_project(tmp_path, text, {"one.env": "A=1\nB=1\n", "two.env": "B=2\nC=2\n"})
    args = ["--env-file", "one.env", "--env-file", "two.env"]
    done = run_in_process(
        ["validate", "--output", "json", "-n", "1-2-env", *args],
        cwd=tmp_path,
        env={"C": "env", "HOME": str(tmp_path), "PATH": ""},
    )
    assert (done.code, json.loads(done.stdout)["diagnostics"]) == (0, [])


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_unset_variable_is_a_warning_in_validate(
    tmp_path: Path, strict: tuple[str, ...], code: int
) -> None:
    text = """
        deployments:
          - {name: a, entrypoint: "flows.py:hello", work_pool: {name: "{{ $POOL }}"}}
    """
    write_project(tmp_path, text)
    env = {"HOME": str(tmp_path), "PATH": "", "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = run_in_process(["validate", "--output", "json", *strict], cwd=tmp_path, env=env)
    (found,) = json.loads(done.stdout)["diagnostics"]
    assert (done.code, found["code"], found["severity"]) == (code, "DC302", "warning")
    done = run_in_process(["plan", "--output", "json"], cwd=tmp_path, env=env)
    (found,) = json.loads(done.stdout)["diagnostics"]
    assert (done.code, found["code"], found["severity"]) == (1, "DC302", "error")


FILES: dict[str, list[tuple[str, str, list[str]]]] = {
    "a/prefect.yaml": [("daily", "k8s", ["x"]), ("hourly", "gpu", [])],
    "b/prefect.yaml": [("weekly", "k8s", ["y"])],
    ".hidden/prefect.yaml": [("hidden", "k8s", [])],
}


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        (["-n", "weekly"], "1 deployment in"),
        (["-n", "weekly", "-n", "daily"], "2 deployments in"),
        (["--in-pool", "k8s"], "2 deployments in"),
        (["--with-tag", "x"], "1 deployment in"),
        (["--exclude", "weekly"], "2 deployments in"),
        ([], "3 deployments in"),
        (["-n", "nope"], "no deployment is called 'nope'"),
        (["--exclude", "nope"], "no deployment is called 'nope'"),
        (["--with-tag", "x", "--in-pool", "gpu"], "no deployment matches all options"),
        (["flows.py:gone"], "no deployment of the files has the entrypoint 'flows.py:gone'"),
        (["--prefect-file", "*/nope.yaml"], "no file matches '*/nope.yaml'"),
    ],
)
def test_selects_from_all_files_that_a_pattern_matches(
    tmp_path: Path, options: list[str], subject: str
) -> None:
    for file, entries in FILES.items():
        (tmp_path / file).parent.mkdir()
        deployments = [
            {
                "name": name,
                "entrypoint": "flows.py:hello",
                "work_pool": {"name": pool},
                "tags": tags,
            }
            for name, pool, tags in entries
        ]
        write_project((tmp_path / file).parent, json.dumps({"deployments": deployments}))
    args = ["validate", "--prefect-file", "**/prefect.yaml", *options]
    done = run_in_process(args, cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": ""})
    assert subject in done.stdout + done.stderr


def test_a_pattern_leaves_the_files_of_environments_out(tmp_path: Path) -> None:
    """They are read with the file that they stand beside."""
    for name in ("a.yaml", "a.prod.yaml", "a.eu.west.yaml", "b.x.yaml", "b.yml", "c/a.dev.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*patterns: str) -> list[str]:
        files = expand_files([tmp_path / each for each in patterns])
        return [each.relative_to(tmp_path).as_posix() for each in files]

    assert found("**/*.y*ml") == ["a.yaml", "b.x.yaml", "b.yml", "c/a.dev.yaml"]
    assert found("*.prod.yaml", "a.eu.west.yaml") == ["a.prod.yaml", "a.eu.west.yaml"]


def test_tags_that_are_known_only_later_are_a_warning(tmp_path: Path) -> None:
    entries = [
        {"name": "a", "entrypoint": "flows.py:hello", "tags": ["x"]},
        {"name": "b", "entrypoint": "flows.py:hello", "tags": ["{{ prefect.variables.t }}"]},
    ]
    write_project(tmp_path, json.dumps({"deployments": entries}))
    args = ["validate", "--with-tag", "x", "--output", "json"]
    done = run_in_process(args, cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": ""})
    assert [each["code"] for each in json.loads(done.stdout)["diagnostics"]] == ["DC151"]
