"""The steps that run here, by the names that Prefect gives them in both its majors.

Whatever else has the name of a function is run by the project's own interpreter, see `custom`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from deployctl.core.errors import DeployctlError
from deployctl.core.values import Json, leaves
from deployctl.steps import docker, git, packages, shell
from deployctl.steps.model import Step
from deployctl.steps.place import Workplace, set_working_directory
from deployctl.templating.grammar import is_opaque
from deployctl.templating.problems import Problem


@dataclass(frozen=True, slots=True)
class Builtin:
    """A step that runs here, without Prefect."""

    run: Callable[..., dict[str, Json]]
    """Takes a `Workplace`, the step's name and the inputs as keywords; raises DeployctlErrors."""
    inputs: Mapping[str, type | tuple[str, ...]]
    """What may stand below the function's name, and of which type, or which texts; `object` is
    any."""
    required: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ("stdout", "stderr")
    check: Callable[[Mapping[str, Json]], None] | None = None
    """Raises what is wrong with inputs that each may be what they are."""
    find: Callable[[Workplace, Mapping[str, Json]], dict[str, Json] | None] | None = None
    """Gives the outputs of a run with these inputs, if they are known without one."""
    by_python: bool = False
    """Whether it is another step with another interpreter of the project."""
    moves: bool = False
    """Whether later steps start from the folder that is the output `directory`."""


_GIT_CLONE = Builtin(
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
)
_OF_PREFECT: Mapping[str, Builtin] = {
    "git_clone": _GIT_CLONE,
    "agit_clone": _GIT_CLONE,
    "git_clone_project": _GIT_CLONE,
    "run_shell_script": Builtin(
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
    ),
    "pip_install_requirements": Builtin(
        packages.pip_install_requirements,
        {"directory": str, "requirements_file": str, "stream_output": object},
        by_python=True,
    ),
    "set_working_directory": Builtin(
        set_working_directory,
        {"directory": str},
        frozenset({"directory"}),
        outputs=("directory",),
        find=lambda place, inputs: set_working_directory(place, "", **inputs),
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
"""What else a build step may say; each builder refuses what is only the other's."""
_OF_DOCKER: Mapping[str, Builtin] = {
    "build_docker_image": Builtin(
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
        check=docker.check_built,
        find=docker.find_docker_image,
    ),
    "push_docker_image": Builtin(
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
        check=docker.check_pushed,
        find=docker.find_pushed_image,
    ),
}
_PREFECT = ("prefect.deployments.steps.", "prefect.projects.steps.")
_DOCKER = ("prefect_docker.deployments.steps.", "prefect_docker.projects.steps.")
_NAMES = tuple(
    module + name
    for modules, steps in ((_PREFECT, _OF_PREFECT), (_DOCKER, _OF_DOCKER))
    for module in modules
    for name in steps
)
"""The whole names of all steps that run here."""
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_CALLED: Mapping[type, str] = {str: "text", dict: "a mapping", list: "a list"}


def builtin(step: Step) -> Builtin | None:
    """What runs a step; None for a function that is somebody else's."""
    if step.function.startswith(_PREFECT):
        return _OF_PREFECT.get(step.short)
    return _OF_DOCKER.get(step.short) if step.function.startswith(_DOCKER) else None


def is_of_docker(step: Step) -> bool:
    """Whether the step builds or pushes an image with prefect_docker."""
    return step.short in _OF_DOCKER and builtin(step) is not None


def is_docker_build(step: Step) -> bool:
    """Whether the step builds an image with prefect_docker."""
    return step.short == "build_docker_image" and builtin(step) is not None


def check_steps(steps: Iterable[Step]) -> list[Problem]:
    """What keeps build and push steps from being run (DC321, DC322); all before any runs."""
    return [problem for step in steps for problem in _check(step)]


def _check(step: Step) -> Iterator[Problem]:
    if (found := builtin(step)) is not None:
        problems = list(_check_inputs(step, found))
        yield from problems or _check_together(step, found)
    elif not _FUNCTION.fullmatch(step.function):
        yield Problem(
            step.path,
            "DC321",
            f"'{step.function}' is not the name of a function",
            f"write its whole name, with its module: {_close(step.short)}",
        )
    elif meant := _misspelt(step.function):
        message = f"there is no function '{step.function}'"
        yield Problem(step.path, "DC321", message, f"did you mean '{meant}'?")


def _close(short: str) -> str:
    """The whole name of the step that is most likely meant, or one for an example."""
    known = {name.rpartition(".")[2]: name for name in reversed(_NAMES)}
    close = get_close_matches(short, known, 1)
    return known[close[0] if close else "run_shell_script"]


def _misspelt(function: str) -> str | None:
    """The step that is meant by a name that is almost its own, in a package of Prefect's."""
    if not function.startswith(("prefect.", "prefect_docker.")):
        return None
    return next(iter(get_close_matches(function, _NAMES, 1, 0.9)), None)


def _check_inputs(step: Step, found: Builtin) -> Iterator[Problem]:
    """What is wrong with the inputs of one step (DC322); text with templates in it may be any."""
    for name, value in step.inputs.items():
        place = (*step.path, step.function, name)
        wanted = found.inputs.get(name, object)
        if name not in found.inputs:
            close = get_close_matches(name, found.inputs, 1)
            yield Problem(
                place,
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                f"did you mean '{close[0]}'?" if close else f"it has {', '.join(found.inputs)}",
            )
        elif value is None or is_opaque(value):
            continue
        elif isinstance(wanted, tuple):
            if value not in wanted:
                message = f"the input '{name}' of the step '{step.short}' cannot be '{value}'"
                yield Problem(place, "DC322", message, f"it can be {' or '.join(wanted)}")
        elif not isinstance(value, wanted):
            message = f"the input '{name}' of the step '{step.short}' must be {_CALLED[wanted]}"
            yield Problem(place, "DC322", message)
    for name in sorted(found.required):
        if step.inputs.get(name) is None:
            message = f"the step '{step.short}' needs the input '{name}'"
            yield Problem(step.path, "DC322", message, f"add '{name}:' below the function's name")


def _check_together(step: Step, found: Builtin) -> Iterator[Problem]:
    """What is wrong with inputs that are right one by one, as far as they are known."""
    known = {
        name: value
        for name, value in step.inputs.items()
        if not any(is_opaque(leaf) for _, leaf in leaves(value))
    }
    if found.check and found.required <= known.keys():
        try:
            found.check(known)
        except DeployctlError as error:
            yield Problem(step.path, error.code, error.message, error.help)
