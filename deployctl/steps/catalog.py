"""The steps that deployctl runs itself, by their names in Prefect 2 and 3.

Any other function is called by the project's own interpreter, see `custom`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployctl.core.json_values import Json
from deployctl.steps import docker, git, packages, shell
from deployctl.steps.context import StepContext, set_working_directory
from deployctl.steps.model import Step


@dataclass(frozen=True, slots=True)
class StepSignature:
    """A step of Prefect or of an integration that only Prefect runs."""

    inputs: Mapping[str, type | tuple[str, ...]]
    required: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ("directory",)
    any_input: bool = False
    """Whether it takes other inputs, too."""
    check: None = None


@dataclass(frozen=True, slots=True)
class BuiltinStep:
    """A step that runs without Prefect."""

    run: Callable[..., dict[str, Json]]
    """Called with a StepContext, the step's name and the inputs; raises DeployctlErrors."""
    inputs: Mapping[str, type | tuple[str, ...]]
    """Input → its type (`object`: any), or the texts that it can be."""
    required: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ("stdout", "stderr")
    check: Callable[[Mapping[str, Json]], None] | None = None
    """Raises a DeployctlError for inputs that are valid one by one but not together."""
    find: Callable[[StepContext, Mapping[str, Json]], dict[str, Json] | None] | None = None
    """Returns the outputs for these inputs if they are known without running the step."""
    by_python: bool = False
    """Whether its effect depends on the project's interpreter."""
    any_input: bool = False
    moves: bool = False
    """Whether later steps run in the folder of the output `directory`."""


_GIT_CLONE = BuiltinStep(
    git.git_clone,
    {
        "repository": str,
        "branch": str,
        "commit_sha": str,
        "include_submodules": object,
        "access_token": str,
        "credentials": dict,
        "directories": list,
        "clone_directory_name": str,
    },
    frozenset({"repository"}),
    outputs=("directory",),
    check=git.check_clone_inputs,
)
_OF_PREFECT: Mapping[str, BuiltinStep] = {
    "git_clone": _GIT_CLONE,
    "agit_clone": _GIT_CLONE,
    "git_clone_project": _GIT_CLONE,
    "run_shell_script": BuiltinStep(
        shell.run_shell_script,
        {
            "script": str,
            "directory": str,
            "env": dict,
            "stream_output": object,
            "expand_env_vars": object,
            "shell": object,
        },
        frozenset({"script"}),
        find=shell.find_output,
    ),
    "pip_install_requirements": BuiltinStep(
        packages.pip_install_requirements,
        {"directory": str, "requirements_file": str, "stream_output": object},
        by_python=True,
    ),
    "set_working_directory": BuiltinStep(
        set_working_directory,
        {"directory": str},
        frozenset({"directory"}),
        outputs=("directory",),
        find=lambda context, inputs: set_working_directory(context, "", **inputs),
        moves=True,
    ),
}
_BACKENDS = ("docker-py", "buildx")
_OPTIONS = (
    # docker-py's `build`
    *("cache_from", "container_limits", "decode", "encoding", "extra_hosts", "forcerm", "gzip"),
    *("isolation", "network_mode", "nocache", "pull", "quiet", "rm", "shmsize", "squash"),
    *("timeout", "use_config_proxy"),
    # python-on-whales' `buildx.build`
    *("add_hosts", "allow", "attest", "build_contexts", "builder", "cache", "cache_to", "load"),
    *("network", "output", "progress", "provenance", "push", "sbom", "secrets", "ssh"),
    "stream_logs",
)
"""Further inputs of a build step; each builder refuses those that only the other one has."""
_OF_DOCKER: Mapping[str, BuiltinStep] = {
    "build_docker_image": BuiltinStep(
        docker.build_docker_image,
        {
            "image_name": str,
            "dockerfile": str,
            "tag": object,
            "additional_tags": list,
            "ignore_cache": object,
            "persist_dockerfile": object,
            "dockerfile_output_path": str,
            "build_backend": _BACKENDS,
            "path": str,
            "context_path": str,
            "buildargs": dict,
            "build_args": dict,
            "labels": dict,
            "target": object,
            "platform": object,
            "platforms": object,
            **dict.fromkeys(_OPTIONS, object),
        },
        frozenset({"image_name"}),
        outputs=docker.OUTPUTS,
        check=docker.check_build_inputs,
        find=docker.find_docker_image,
    ),
    "push_docker_image": BuiltinStep(
        docker.push_docker_image,
        {
            "image_name": str,
            "tag": object,
            "additional_tags": list,
            "credentials": dict,
            "ignore_cache": object,
            "build_backend": _BACKENDS,
        },
        frozenset({"image_name"}),
        outputs=docker.PUSH_OUTPUTS,
        check=docker.check_push_inputs,
        find=docker.find_pushed_image,
    ),
}
_PREFECT = ("prefect.deployments.steps.", "prefect.projects.steps.")
_DOCKER = ("prefect_docker.deployments.steps.", "prefect_docker.projects.steps.")


def _storage(place: str, *optional: str, needs_credentials: bool = False) -> StepSignature:
    """A step that copies code to or from a folder in a bucket or container."""
    types = {"credentials": dict, "client_parameters": dict, "ignore_file": str, "project": str}
    inputs = {place: str, "folder": str, **{name: types[name] for name in optional}}
    required = {place, "folder", *(("credentials",) if needs_credentials else ())}
    return StepSignature(inputs, frozenset(required), (place, "folder", "directory"))


_BLOCK_INPUTS: Mapping[str, type] = {"block_document_name": str, "block_type_slug": str}
_NOT_BUILT_IN: Mapping[str, StepSignature] = {
    "prefect.deployments.steps.pull_from_remote_storage": StepSignature(
        {"url": str}, frozenset({"url"}), any_input=True
    ),
    "prefect.deployments.steps.pull_with_block": StepSignature(
        _BLOCK_INPUTS, frozenset(_BLOCK_INPUTS)
    ),
    "prefect_aws.deployments.steps.push_to_s3": _storage(
        "bucket", "credentials", "client_parameters", "ignore_file"
    ),
    "prefect_aws.deployments.steps.pull_from_s3": _storage(
        "bucket", "credentials", "client_parameters"
    ),
    "prefect_gcp.deployments.steps.push_to_gcs": _storage(
        "bucket", "project", "credentials", "ignore_file"
    ),
    "prefect_gcp.deployments.steps.pull_from_gcs": _storage("bucket", "project", "credentials"),
    "prefect_azure.deployments.steps.push_to_azure_blob_storage": _storage(
        "container", "credentials", "ignore_file", needs_credentials=True
    ),
    "prefect_azure.deployments.steps.pull_from_azure_blob_storage": _storage(
        "container", "credentials", needs_credentials=True
    ),
}
"""Full name → signature, as in the integrations for Prefect 3.9. The names in their older modules
`projects` take other inputs."""
NAMES = (
    *(
        module + name
        for modules, steps in ((_PREFECT, _OF_PREFECT), (_DOCKER, _OF_DOCKER))
        for module in modules
        for name in steps
    ),
    *_NOT_BUILT_IN,
)
"""The full names of all steps whose inputs are known."""


def builtin_step(step: Step) -> BuiltinStep | None:
    """The implementation of a step; None for a function that isn't built in."""
    if step.function.startswith(_PREFECT):
        return _OF_PREFECT.get(step.short)
    return _OF_DOCKER.get(step.short) if step.function.startswith(_DOCKER) else None


def step_signature(step: Step) -> BuiltinStep | StepSignature | None:
    """The inputs and outputs of a step; None if only its code knows them."""
    return builtin_step(step) or _NOT_BUILT_IN.get(step.function)


def is_missing_from_prefect(step: Step) -> bool:
    """Whether the function would be one of Prefect's own steps, and no version has it."""
    module, _, name = step.function.rpartition(".")
    return f"{module}." in _PREFECT and step_signature(step) is None and name.islower()


def is_shell_step(step: Step) -> bool:
    """Whether the step runs a shell script."""
    return step.short == "run_shell_script" and builtin_step(step) is not None


def is_docker_step(step: Step) -> bool:
    """Whether the step builds or pushes an image with prefect_docker."""
    return step.short in _OF_DOCKER and builtin_step(step) is not None


def is_docker_build(step: Step) -> bool:
    """Whether the step builds an image with prefect_docker."""
    return step.short == "build_docker_image" and builtin_step(step) is not None
