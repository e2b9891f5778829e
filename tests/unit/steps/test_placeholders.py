"""Placeholders that no step provides, and credentials that pull steps would store."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.core import redact
from deployctl.core.fix import ReplaceText
from deployctl.steps.model import Step
from deployctl.steps.placeholders import (
    check_entry_outputs,
    check_pull_outputs,
    check_step_outputs,
    possible_outputs,
    stored_credentials,
)
from deployctl.templating.problems import Problem

STEPS = "prefect.deployments.steps"
SHELL = Step(f"{STEPS}.run_shell_script", {"script": "make"}, "build-image", ("build", 0))
CLONE = Step(f"{STEPS}.git_clone", {"repository": "r"}, "clone", ("pull", 0))
CUSTOM = Step("project.steps.tag", {}, "tag-image", ("build", 0))
GITHUB = "ghp_0123456789abcdefghij"


def using(text: Any, kind: str = "pull", id: str = "") -> Step:  # noqa: A002
    function = f"{STEPS}.set_working_directory"
    return Step(function, {"directory": text}, id, (kind, 1))


def said(problems: Any) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.help) for problem in problems]


UNDEFINED = [
    ("{{ clones.directory }}", "DC330", "Did you mean 'clone'?"),
    ("{{ clone.path }}", "DC303", "It has 'directory'."),
    ("{{ nothing }}", "DC303", "The steps have"),
    ("{{ later.directory }}", "DC303", "The steps have"),
    ("{{ HOME }}", "DC303", "The steps have"),
    ("{{ prefect.block.secret.x }}", "DC303", "Write '{{ prefect.blocks.secret.x }}'."),
    ("{{ prefect.variable.x }}", "DC303", "Write '{{ prefect.variables.x }}'."),
    ("{{ flow_run.name }}", "DC303", "Write '{{ ctx.flow_run.name }}'."),
    ("{{ env.HOME }}", "DC303", "Write '{{ $HOME }}'."),
]


MEANT = [
    ("{{ clones.directory }}", "{{ clone.directory }}"),
    ("{{clone.directry}}", "{{clone.directory}}"),
    ("{{ stdot }}", "{{ stdout }}"),
    ("{{ prefect.block.secret.x }}", "{{ prefect.blocks.secret.x }}"),
    ("{{ env.HOME }}", "{{ $HOME }}"),
    ("{{ clone.path }}", None),
    ("{{ clones.path }}", "{{ clone.path }}"),
    ("{{ std }}", None),
    ("{{ nothing }}", None),
]


@pytest.mark.parametrize(("text", "meant"), MEANT)
def test_only_what_one_name_can_mean_is_fixed(text: str, meant: str | None) -> None:
    pull = [CLONE, using(f"/a/{text}")]
    (problem,) = check_pull_outputs(pull, possible_outputs([SHELL]))
    fix = ReplaceText(problem.path, text, str(meant)) if meant else None
    assert problem.fix == fix


@pytest.mark.parametrize(("text", "code", "help_"), UNDEFINED)
def test_reports_what_no_step_provides_to_a_pull_step(text: str, code: str, help_: str) -> None:
    pull = [CLONE, using(f"/a/{text}"), using(".", id="later")]
    (problem,) = check_pull_outputs(pull, possible_outputs([SHELL]))
    assert (problem.code, problem.path) == (code, ("pull", 1, using("").function, "directory"))
    assert problem.help is not None
    assert problem.help.startswith(help_)


@pytest.mark.parametrize(
    "text",
    [
        "{{ clone.directory }}",
        "{{ directory }}",
        "{{ build-image.stdout }}",
        "{{ stdout }}",
        "{{ $HOME }}",
        "{{ $NOT_SET }}",
        "{{ prefect.blocks.secret.x }}",
        "{{ prefect.variables.x }}",
        "{{ ctx.flow_run.id }}",
    ],
)
def test_accepts_what_a_run_can_resolve(text: str) -> None:
    assert not list(check_pull_outputs([CLONE, using(text)], possible_outputs([SHELL])))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{{ tag-image.tag }}", None),
        ("{{ tag }}", None),
        ("{{ other.tag }}", None),
        ("{{ tag_image.tag }}", "DC330"),
        ("{{ flow_run.name }}", "DC303"),
    ],
)
def test_outputs_of_a_function_are_unknown_but_not_its_id(text: str, code: str | None) -> None:
    found = check_entry_outputs({"tags": [text]}, possible_outputs([CUSTOM]), ())
    assert [problem.code for problem in found] == ([code] if code else [])


def test_build_steps_see_earlier_steps_and_the_environment() -> None:
    texts = ["{{ stdout }}", "{{ HOME }}", "{{ build_image.stdout }}", "{{ image }}"]
    steps = [SHELL, *(using(text, "build") for text in texts)]
    found = list(check_step_outputs(steps, {"HOME"}))
    assert [problem.code for problem in found] == ["DC330", "DC303"]
    assert [problem.code for problem in check_step_outputs(steps[1:2], {"HOME"})] == ["DC303"]


def test_fields_are_checked_by_the_rule_of_templates() -> None:
    """Not job templates of triggers, which the server renders; nor pull steps, see above."""
    entry = {
        "description": "{{ gone }}",
        "work_pool": {"job_variables": {"image": "{{ gone.image }}"}},
        "triggers": [{"name": "{{ gone }}", "parameters": {"id": "{{ event.id }}"}}],
        "pull": [{"f": {"x": "{{ gone }}"}}],
    }
    paths = [problem.path for problem in check_entry_outputs(entry, {}, ())]
    assert paths == [
        ("description",),
        ("work_pool", "job_variables", "image"),
        ("triggers", 0, "name"),
    ]


@pytest.mark.parametrize(
    ("inputs", "environ", "stored"),
    [
        ({"access_token": "{{ $X }}"}, {"X": "opensesame"}, True),
        ({"directory": "{{ $API_TOKEN }}"}, {"API_TOKEN": "opensesame"}, True),
        ({"env": {"DB_PASSWORD": "{{ $X }}"}}, {"X": "opensesame"}, True),
        ({"repository": "https://{{ $X }}@github.com/a/b"}, {"X": GITHUB}, True),
        ({"repository": "{{ $REPO }}"}, {"REPO": "https://me:pw@host.test/r.git"}, True),
        ({"access_token": "{{ $X }}"}, {}, False),
        ({"access_token": "{{ prefect.blocks.secret.x }}"}, {"X": "opensesame"}, False),
        ({"access_token": "{{ $X }}"}, {"X": ""}, False),
        ({"commit_sha": "{{ $GITHUB_SHA }}"}, {"GITHUB_SHA": "0123abc"}, False),
        ({"directory": "{{ $PWD }}/flows"}, {"PWD": "/home/me"}, False),
        (
            {"env": {"A": "{{ $GOOGLE_APPLICATION_CREDENTIALS }}"}},
            {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/keys/gcp.json"},
            False,
        ),
    ],
)
def test_warns_of_credentials_that_would_be_stored(
    inputs: dict[str, Any], environ: dict[str, str], stored: bool
) -> None:
    found: list[Problem] = list(
        stored_credentials([Step(f"{STEPS}.git_clone", inputs, "", ("pull", 0))], environ)
    )
    assert [problem.code for problem in found] == ["DC307"] * stored
    for problem in found:
        assert "{{ prefect.blocks.secret." in (problem.help or "")
        assert problem.path[:2] == ("pull", 0)
        value = next(iter(environ.values()))
        assert redact.redact(value) == redact.MASK
        assert value not in problem.message
