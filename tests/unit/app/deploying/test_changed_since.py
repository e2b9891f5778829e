"""`--changed-since` in real git repositories: what counts as changed, and why."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import run_in_process

FLOW = "from prefect import flow\n{}\n\n@flow\ndef {}():\n    pass\n"
IMAGE = {"prefect_docker.deployments.steps.build_docker_image": {"image_name": "r.example/x"}}
SHELL = {"prefect.deployments.steps.run_shell_script": {"script": "python tools/gen.py --all"}}
PIP = {"prefect.deployments.steps.pip_install_requirements": {"directory": "reqs"}}
ENTRIES: list[dict[str, Any]] = [
    {"name": "etl", "entrypoint": "flows/etl.py:etl", "tags": ["a"]},
    {"name": "report", "entrypoint": "flows.report:report"},
    {"name": "image", "entrypoint": "flows/plain.py:plain", "build": [IMAGE]},
    {"name": "steps", "entrypoint": "flows/plain.py:plain", "build": [SHELL], "pull": [PIP]},
]
FILES = {
    "flows/__init__.py": "",
    "flows/etl.py": FLOW.format("from lib import db\nimport json", "etl"),
    "flows/report.py": FLOW.format("from . import helpers", "report"),
    "flows/helpers.py": "def f():\n    import lib.tables.names\n",
    "flows/plain.py": FLOW.format("", "plain"),
    "lib/db.py": "import importlib\nimportlib.import_module('lib.late')\n",
    "lib/late.py": "",
    "lib/json.py": "",
    "lib/tables/__init__.py": "",
    "lib/tables/names.py": "",
    "tools/gen.py": "",
    "reqs/requirements.txt": "",
    "Dockerfile": "FROM python:3.12\nCOPY data /data\n",
    ".dockerignore": "*\n!data\n",
    "data/in.csv": "1\n",
    "README.md": "",
}


def git(folder: Path, *args: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
    done = subprocess.run(
        ["git", *settings, *args], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_file(folder: Path, entries: list[dict[str, Any]], **top: Any) -> None:
    write(folder, "prefect.yaml", json.dumps({"name": "p", **top, "deployments": entries}))


@pytest.fixture(scope="module")
def first_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "project"
    for name, text in FILES.items():
        write(folder, name, text)
    write_file(folder, ENTRIES, pull=[])
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def repository(first_commit: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first_commit, tmp_path / "project")


def validate(folder: Path, *args: str, code: int = 0) -> Any:
    environ = {"HOME": str(folder.parent), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = run_in_process(["validate", "--output", "json", *args], cwd=folder, env=environ)
    assert done.code == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def selected(folder: Path, *args: str) -> dict[str, list[str]]:
    output = validate(folder, "--changed-since", "HEAD", *args)
    return {each["name"]: each["reasons"] for each in output["selected"]}


def touch(name: str) -> Callable[[Path], None]:
    return lambda folder: write(folder, name, FILES.get(name, "") + "# changed\n")


def entries(*changed: dict[str, Any], **top: Any) -> Callable[[Path], None]:
    return lambda folder: write_file(folder, [*changed], **{"pull": [], **top})


STEP = "which the step 'run_shell_script' reads"
CHANGES: dict[str, tuple[Callable[[Path], None], dict[str, list[str]]]] = {
    "nothing": (lambda _: None, {}),
    "a file that none uses": (touch("README.md"), {}),
    "a module that shadows one of the standard library": (
        touch("flows/json.py"),
        {"etl/etl": ["imports flows/json.py, which changed"]},
    ),
    "a module of the same name as one of the standard library": (touch("lib/json.py"), {}),
    "the flow": (touch("flows/etl.py"), {"etl/etl": ["flows/etl.py changed"]}),
    "an imported module": (
        touch("lib/db.py"),
        {"etl/etl": ["imports lib/db.py, which changed"]},
    ),
    "a module that is imported by name": (
        touch("lib/late.py"),
        {"etl/etl": ["imports lib/late.py, which changed"]},
    ),
    "a module that a module imports in a function": (
        touch("lib/tables/names.py"),
        {"report/report": ["imports lib/tables/names.py, which changed"]},
    ),
    "a module that is gone": (
        lambda folder: (folder / "lib/tables/__init__.py").unlink(),
        {"report/report": ["imports lib/tables/__init__.py, which changed"]},
    ),
    "an untracked module": (
        touch("lib/__init__.py"),
        {
            "etl/etl": ["imports lib/__init__.py, which changed"],
            "report/report": ["imports lib/__init__.py, which changed"],
        },
    ),
    "the build context": (
        touch("data/in.csv"),
        {"plain/image": ["its image is built from what changed: data/in.csv"]},
    ),
    "the Dockerfile": (
        touch("Dockerfile"),
        {"plain/image": ["its image is built from what changed: Dockerfile"]},
    ),
    "a script of a step": (
        touch("tools/gen.py"),
        {"plain/steps": [f"tools/gen.py changed, {STEP}"]},
    ),
    "requirements": (
        touch("reqs/requirements.txt"),
        {
            "plain/steps": [
                "reqs/requirements.txt changed, which the step 'pip_install_requirements' reads"
            ]
        },
    ),
    "an entry": (
        entries({**ENTRIES[0], "tags": ["b"], "version": "1"}, *ENTRIES[1:]),
        {"etl/etl": ["its entry changed: tags, version"]},
    ),
    "a new entry": (
        entries(*ENTRIES, {**ENTRIES[1], "name": "new"}),
        {"report/new": ["its entry is new"]},
    ),
    "the order of entries": (entries(*reversed(ENTRIES)), {}),
    "steps of the file": (
        entries(*ENTRIES, pull=[SHELL]),
        {
            each: ["the file's 'pull' changed"]
            for each in ("etl/etl", "report/report", "plain/image")
        },
    ),
}

SCRIPT = """# Doesn't need much: {{ prefect.variables.x }}
bash 'tools/b c.sh' --to {{ $OUT }}/tools/gen.py
bash tools/last.sh; exit
# That's all.
"""


def shell(**inputs: str) -> dict[str, Any]:
    return {"prefect.deployments.steps.run_shell_script": inputs}


def image(**inputs: str) -> dict[str, Any]:
    return {"prefect_docker.deployments.steps.build_docker_image": {"image_name": "x/y", **inputs}}


INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "a script in quotes": (shell(script=SCRIPT), "tools/b c.sh"),
    "a script between apostrophes": (shell(script=SCRIPT), "tools/last.sh"),
    "a script with one apostrophe": (shell(script="# don't\nbash b.sh"), "b.sh"),
    "a script beside a placeholder": (shell(script="python x.py {{ $A }}"), "x.py"),
    "a script in the step's directory": (
        shell(script="bash b.sh", directory="tools"),
        "tools/b.sh",
    ),
    "a Dockerfile outside": (image(path="data", dockerfile="../docker/own"), "docker/own"),
    "an ignore file": (image(dockerfile="docker/own"), "docker/own.dockerignore"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_finds_the_files_that_a_step_names(repository: Path, case: str) -> None:
    step, file = INPUTS[case]
    write(repository, "docker/own.dockerignore", "docker\n")
    write_file(repository, [{**ENTRIES[2], "build": [step]}], pull=[])
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "step")
    write(repository, "docker/not-named", "")
    assert selected(repository) == {}
    write(repository, file, "docker\n# changed\n")
    ((reason,),) = selected(repository).values()
    assert file in reason


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("tools/gen.py", "the step 'main': tools/gen.py changed"),
        ("lib/late.py", "the step 'main': imports lib/late.py, which changed"),
    ],
)
def test_a_step_may_be_a_function_of_the_project(repository: Path, file: str, reason: str) -> None:
    write(repository, "tools/gen.py", "import lib.late\n\ndef main():\n    return {}\n")
    write_file(repository, [{**ENTRIES[2], "build": [{"tools.gen.main": {}}]}], pull=[])
    git(repository, "commit", "-q", "-a", "-m", "step")
    assert selected(repository) == {}
    with (repository / file).open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    assert selected(repository) == {"plain/image": [reason]}


def test_a_placeholder_names_no_file(repository: Path) -> None:
    write_file(repository, [{**ENTRIES[2], "build": [shell(script=SCRIPT)]}], pull=[])
    git(repository, "commit", "-q", "-a", "-m", "step")
    touch("tools/gen.py")(repository)
    assert selected(repository) == {}


@pytest.mark.parametrize("case", CHANGES)
def test_selects_what_changed_and_says_why(repository: Path, case: str) -> None:
    change, reasons = CHANGES[case]
    change(repository)
    assert selected(repository) == reasons


def test_compares_with_any_revision_and_narrows_the_selection(repository: Path) -> None:
    touch("flows/etl.py")(repository)
    touch("flows/report.py")(repository)
    git(repository, "add", "flows/etl.py")
    assert list(selected(repository)) == ["etl/etl", "report/report"]
    git(repository, "commit", "-q", "-a", "-m", "second")
    assert selected(repository) == {}
    output = validate(repository, "--changed-since", "HEAD~1", "--exclude", "report")
    assert [each["name"] for each in output["selected"]] == ["etl/etl"]
    assert selected(repository, "--exclude", "report/report") == {}
    (repository / "prefect.yaml").rename(repository / "other.yaml")
    output = selected(repository, "--prefect-file", "other.yaml")
    assert output["etl/etl"] == ["'other.yaml' was not there, or not readable, at HEAD"]


def test_entries_are_compared_in_the_environment(repository: Path) -> None:
    environments: dict[str, Any] = {"prod": {"tags": ["x"]}, "dev": {"name_suffix": "-dev"}}
    write_file(repository, ENTRIES[:1], pull=[], environments=environments)
    git(repository, "commit", "-q", "-a", "-m", "environments")
    environments["prod"]["tags"] = ["y"]
    write_file(repository, ENTRIES[:1], pull=[], environments=environments)
    assert selected(repository, "--env", "dev") == {}
    assert selected(repository, "--env", "prod") == {"etl/etl": ["its entry changed: tags"]}
    assert selected(repository, "--env", "dev", "--set", "deployments.etl-dev.version=2") == {}


@pytest.mark.parametrize("former", [5, "x", [5], {"a": 5}, None])
def test_a_former_file_may_be_invalid(repository: Path, former: Any) -> None:
    write(repository, "prefect.yaml", json.dumps({"deployments": former}))
    git(repository, "commit", "-q", "-a", "-m", "invalid")
    write_file(repository, ENTRIES[:1], pull=[])
    assert selected(repository) == {"etl/etl": ["its entry is new"]}
    assignment = ("--set", "deployments.etl.version=2")
    assert selected(repository, *assignment) == {"etl/etl": ["its entry is new"]}


def test_assignments_need_not_fit_the_former_file(repository: Path) -> None:
    schedules = [{"cron": "0 6 * * *"}, {"cron": "0 7 * * *"}]
    write_file(repository, [{**ENTRIES[0], "schedules": schedules[:1]}, ENTRIES[1]], pull=[])
    git(repository, "commit", "-q", "-a", "-m", "one schedule")
    write_file(repository, [{**ENTRIES[0], "schedules": schedules}, ENTRIES[1]], pull=[])
    assignments = ("etl.schedules.1.cron=0 8 * * *", "report.version=2")
    options = [each for value in assignments for each in ("--set", f"deployments.{value}")]
    assert selected(repository, *options) == {"etl/etl": ["its entry changed: schedules"]}


def test_code_that_cannot_be_parsed_counts_as_changed(repository: Path) -> None:
    """What it imports is not known. Our own Python may be older than the project's."""
    touch("lib/db.py")(repository)
    write(repository, "lib/late.py", "type X = (\n")
    git(repository, "commit", "-q", "-a", "-m", "syntax")
    reasons = ["imports lib/late.py, which cannot be parsed, so what it imports is not known"]
    assert selected(repository) == {"etl/etl": reasons}
    write(repository, "flows/etl.py", "type X = int\n" + FILES["flows/etl.py"])
    git(repository, "commit", "-q", "-a", "-m", "flow")
    (reasons,) = selected(repository).values()
    assert reasons == ["flows/etl.py cannot be parsed, so what it imports is not known"]


def test_says_what_to_do_if_git_cannot_tell(repository: Path, tmp_path: Path) -> None:
    def error(folder: Path, revision: str) -> tuple[str, str]:
        (found,) = validate(folder, "--changed-since", revision, code=1)["diagnostics"]
        return found["message"], found["help"]

    message, help_ = error(repository, "nope")
    assert (message, "git fetch" in help_) == ("git knows no revision 'nope' here", True)
    assert error(repository, "--all")[0] == "git knows no revision '--all' here"
    touch("README.md")(repository)
    git(repository, "commit", "-q", "-a", "-m", "second")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    message, help_ = error(shallow, "HEAD~1")
    assert (message, "fetch-depth: 0" in help_) == ("git knows no revision 'HEAD~1' here", True)
    (repository / ".git").rename(tmp_path / "gone")
    message, help_ = error(repository, "HEAD")
    assert "not a git repository" in message
    assert "checkout" in help_
