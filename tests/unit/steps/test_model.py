from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.json_values import JsonPath
from deployctl.images.docker import buildx, engine
from deployctl.steps.checks import check_steps
from deployctl.steps.model import Step, effective_steps, parse_steps

BUILD = "prefect_docker.deployments.steps.build_docker_image"
PUSH = "prefect_docker.projects.steps.push_docker_image"
STEPS = "prefect.deployments.steps"
SHELL = "prefect.deployments.steps.run_shell_script"

BAD_NAMES: list[tuple[str, str, dict[str, Any], str, str]] = [
    (BUILD, "team/App", {}, "DC700", "lower case"),
    (BUILD, "a", {"tag": "b/c", "target": "{{ b }}"}, "DC700", "a:b/c"),
    (BUILD, "team/app:1", {}, "DC700", "invalid repository"),
    (PUSH, "team/App", {"tag": "{{ b }}"}, "DC700", "lower case"),
    (PUSH, "a", {"additional_tags": ["b", "c d"]}, "DC700", "'c d'"),
]


def test_step_is_a_function_with_inputs_and_id() -> None:
    value = [{SHELL: {"id": "a", "requires": "x", "script": "ls"}}, None, {"f.g": None}]
    assert parse_steps(value, ("build",)) == (
        [
            Step(SHELL, {"script": "ls"}, "a", ("build", 0), "x"),
            Step("f.g", {}, "", ("build", 2)),
        ],
        [],
    )


@pytest.mark.parametrize("value", [None, [], {}])
def test_empty_values_are_no_steps(value: Any) -> None:
    assert parse_steps(value) == ([], [])


def test_single_mapping_is_one_step() -> None:
    assert parse_steps({"f.g": {"a": 1}}, ("pull",)) == ([Step("f.g", {"a": 1}, "", ("pull",))], [])


@pytest.mark.parametrize(
    "entry", ["f.g", {"f.g": None, "script": "ls"}, {"f.g": "ls"}, {"f.g": ["ls"]}, {1: {}}]
)
def test_invalid_steps_are_reported(entry: Any) -> None:
    steps, (problem,) = parse_steps([{"f.g": {}}, entry], ("push",))
    assert [step.function for step in steps] == ["f.g"]
    assert (problem.code, problem.path) == ("DC320", ("push", 1))


@pytest.mark.parametrize(
    ("kind", "entry", "top_level", "expected"),
    [
        ("build", {}, {"build": ["t"]}, ["t"]),
        ("build", {"build": None}, {"build": ["t"]}, None),
        ("build", {"build": []}, {"build": ["t"]}, []),
        ("build", {"build": ["d"]}, {"build": ["t"]}, ["d"]),
        ("push", {}, {"push": ["t"]}, ["t"]),
        ("push", {"push": None}, {"push": ["t"]}, ["t"]),
        ("push", {"push": []}, {"push": ["t"]}, []),
        ("pull", {}, {"pull": ["t"]}, ["t"]),
        ("pull", {"pull": None}, {"pull": ["t"]}, ["t"]),
        ("pull", {"pull": []}, {"pull": ["t"]}, []),
        ("pull", {}, {"pull": []}, []),
        ("pull", {}, {}, None),
    ],
)
def test_steps_of_the_deployment_come_before_those_of_the_file(
    kind: str, entry: Any, top_level: Any, expected: Any
) -> None:
    assert effective_steps(kind, entry, top_level) == expected


@pytest.mark.parametrize(
    "function",
    [
        SHELL,
        "prefect.projects.steps.run_shell_script",
        "prefect.deployments.steps.utility.run_shell_script",
    ],
)
def test_step_names_of_prefect_2_and_3_are_known(function: str) -> None:
    assert check_steps([Step(function, {"script": "ls"})]) == []


@pytest.mark.parametrize(
    "step",
    [
        Step("my.own.step", {"any": 1}),
        Step("prefect_aws.deployments.steps.push_to_s3", {"bucket": "b", "folder": "f"}),
        Step("prefect_aws.deployments.steps.pull_project_from_s3", {"any": 1}),
        Step("prefect_gitlab.steps.clone", {"any": 1}),
        Step("prefect.deployments.steps.git_clone", {"repository": "r"}),
        Step(
            "prefect.deployments.steps.pull_with_block",
            {"block_type_slug": "s3-bucket", "block_document_name": "code"},
        ),
        Step(
            "prefect.deployments.steps.pull_from_remote_storage",
            {"url": "s3://b/f", "key": "x", "any": True},
        ),
        Step("my_prefect_docker.deployments.steps.build_docker_image", {"own": 1}),
        Step(BUILD, {"image_name": "a", "tag": 3.1, "network_mode": "host"}),
        Step(BUILD, {"image_name": "{{ $REGISTRY }}/A", "tag": "a b"}),
        Step(BUILD, {"image_name": "a", "additional_tags": ["{{ a }} b"]}),
        Step(PUSH, {"image_name": "a", "credentials": "{{ prefect.blocks.a.b }}"}),
        Step(PUSH, {"image_name": "team/app:1"}),
    ],
)
def test_custom_functions_and_builder_options_are_accepted(step: Step) -> None:
    assert check_steps([step]) == []


@pytest.mark.parametrize("options", [engine._OPTIONS, buildx._OPTIONS])
def test_options_of_builders_are_inputs_of_the_build_step(options: frozenset[str]) -> None:
    inputs = dict.fromkeys(options, "{{ $ANY }}")
    assert check_steps([Step(BUILD, {"image_name": "a", **inputs})]) == []


def test_placeholder_is_accepted_for_any_type() -> None:
    inputs = {"script": "ls", "directory": None, "env": "{{ prefect.variables.env }}"}
    assert check_steps([Step(SHELL, inputs)]) == []


@pytest.mark.parametrize(
    ("step", "path", "code", "message"),
    [
        (
            Step("build_docker_image", {}, "", ("build", 0)),
            ("build", 0),
            "DC321",
            "prefect_docker.deployments.steps.build_docker_image",
        ),
        (Step("my step", {}, "", ("push", 1)), ("push", 1), "DC321", "with its module"),
        (
            Step("prefect_docker.deployments.steps.build_docker_imge", {}, "", ("build", 0)),
            ("build", 0),
            "DC321",
            f"Did you mean '{BUILD}'?",
        ),
        (
            Step("prefect.deployment.steps.run_shell_script", {}, "", ("build", 0)),
            ("build", 0),
            "DC321",
            f"Did you mean '{SHELL}'?",
        ),
        (Step(BUILD, {"tag": "x"}, "", ("build", 0)), ("build", 0), "DC322", "Add 'image_name:'"),
        (
            Step(PUSH, {"image_name": "a", "additional_tags": "b"}, "", ("push", 0)),
            ("push", 0, PUSH, "additional_tags"),
            "DC322",
            "must be a list",
        ),
        (
            Step(PUSH, {"image_name": "a", "credential": {}}, "", ("push", 0)),
            ("push", 0, PUSH, "credential"),
            "DC322",
            "Did you mean 'credentials'?",
        ),
        *(
            (
                Step(BUILD, {"image_name": "a", wrong: "b"}, "", ("build", 0)),
                ("build", 0, BUILD, wrong),
                "DC322",
                f"Did you mean '{right}'?",
            )
            for wrong, right in [
                ("dockerfle", "dockerfile"),
                ("nocahe", "nocache"),
                ("secret", "secrets"),
            ]
        ),
        (
            Step(BUILD, {"image_name": "a", "wholly_other": 1}, "", ("build", 0)),
            ("build", 0, BUILD, "wholly_other"),
            "DC322",
            "It has image_name, dockerfile",
        ),
        *(
            (
                Step(function, {"image_name": name, **more}, "", ("build", 0)),
                ("build", 0),
                *expected,
            )
            for function, name, more, *expected in BAD_NAMES
        ),
        *(
            (
                Step(function, {"image_name": "a", "build_backend": "bildx"}, "", ("push", 0)),
                ("push", 0, function, "build_backend"),
                "DC322",
                "cannot be 'bildx' It can be docker-py or buildx",
            )
            for function in (BUILD, PUSH)
        ),
        *(
            (Step(function, inputs, "", ("pull", 0)), ("pull", 0), code, said)
            for function, inputs, code, said in (
                (f"{STEPS}.git_clne", {}, "DC321", "Did you mean 'prefect.deployments.steps.git_"),
                (f"{STEPS}.pull_code", {}, "DC321", "no version of Prefect up to 3.9"),
                ("prefect_aws.deployments.steps.pull_from_s2", {}, "DC321", "pull_from_s3'?"),
                (f"{STEPS}.git_clone", {"branch": "b"}, "DC322", "Add 'repository:'"),
                (
                    f"{STEPS}.git_clone",
                    {"repository": "r", "branch": "b", "commit_sha": "c"},
                    "DC322",
                    "exclude each other",
                ),
                (f"{STEPS}.set_working_directory", {}, "DC322", "Add 'directory:'"),
                (f"{STEPS}.pull_from_remote_storage", {"key": "x"}, "DC322", "Add 'url:'"),
            )
        ),
        (
            Step(SHELL, {"script": "ls", "dirctory": "x"}, "", ("build", 0)),
            ("build", 0, SHELL, "dirctory"),
            "DC322",
            "Did you mean 'directory'?",
        ),
        (Step(SHELL, {}, "", ("build", 0)), ("build", 0), "DC322", "Add 'script:'"),
        (
            Step(SHELL, {"script": None}, "", ("build",)),
            ("build",),
            "DC322",
            "Add 'script:'",
        ),
        (
            Step(SHELL, {"script": ["ls"]}, "", ("build",)),
            ("build", SHELL, "script"),
            "DC322",
            "must be text",
        ),
        (
            Step(SHELL, {"script": "ls", "env": "A=1"}, "", ("build",)),
            ("build", SHELL, "env"),
            "DC322",
            "must be a mapping",
        ),
    ],
)
def test_invalid_steps_are_reported_before_any_runs(
    step: Step, path: JsonPath, code: str, message: str
) -> None:
    (problem,) = check_steps([step])
    assert (problem.code, problem.path) == (code, path)
    assert message in f"{problem.message} {problem.help}"
