"""Evaluates a Dockerfile: variables at each instruction, and the base images of a target.

A build argument has a value from the ARG that declares it onward; ENV takes precedence over ARG. An
ARG before the first FROM is visible to FROM only, until a stage redeclares it without a value. A
stage that is based on another stage inherits its variables. What cannot be known before the build
is rejected (DC703, DC704) rather than guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from deployctl.core.errors import DeployctlError
from deployctl.images.dockerfile.parser import Dockerfile, Instruction, Stage
from deployctl.images.dockerfile.substitution import BadSubstitution, substitute

SCRATCH = "scratch"
_NOT_EXPANDED = frozenset({"FROM", "RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK", "ONBUILD"})
"""Instructions whose variables are expanded when they run, or never; FROM by `stage_base`."""
_ASSIGNMENTS = frozenset({"ENV", "LABEL", "ARG"})


class BadDockerfile(DeployctlError):
    """The Dockerfile is invalid, or depends on something that only the build knows."""

    code = "DC703"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that a build pulls."""

    image: str
    """Image reference with all variables expanded."""
    platform: str | None
    """`os/architecture[/variant]`; None for the platform of the build."""


@dataclass(frozen=True, slots=True)
class BuildParameters:
    """Inputs of a build beside the Dockerfile and the context."""

    build_args: Mapping[str, str]
    target_platform: str
    """TARGETPLATFORM: the platform of the image."""
    build_platform: str
    """BUILDPLATFORM: the platform of the machine that builds."""


def require_valid(dockerfile: Dockerfile) -> Dockerfile:
    """Returns the Dockerfile. Raises BadDockerfile with its first problem."""
    for problem in dockerfile.problems:
        raise BadDockerfile(f"{problem.span}: {problem.message}", help=problem.help)
    return dockerfile


def declared_args(dockerfile: Dockerfile) -> set[str]:
    """The names of all build arguments that the Dockerfile declares with ARG."""
    in_stages = [each for stage in dockerfile.stages for each in stage.instructions]
    return {
        word.partition("=")[0]
        for instruction in [*dockerfile.arguments, *in_stages]
        if instruction.keyword == "ARG"
        for word in instruction.words
    }


def global_args(dockerfile: Dockerfile, parameters: BuildParameters) -> dict[str, str]:
    """The variables that FROM can use. Raises BadSubstitution."""
    values = _platform_args(parameters)
    for instruction in dockerfile.arguments:
        for word in instruction.words:
            name, has_default, default = word.partition("=")
            if name in parameters.build_args:
                values[name] = parameters.build_args[name]
            elif has_default:
                values[name] = substitute(default, values, escape=dockerfile.escape)
    return values


def _platform_args(parameters: BuildParameters) -> dict[str, str]:
    values = {}
    platforms = (("TARGET", parameters.target_platform), ("BUILD", parameters.build_platform))
    for prefix, platform in platforms:
        os, architecture, variant = (*platform.split("/"), "", "")[:3]
        values[f"{prefix}PLATFORM"] = platform
        values[f"{prefix}OS"] = os
        values[f"{prefix}ARCH"] = architecture
        values[f"{prefix}VARIANT"] = variant
    return values


def _earlier_stage(dockerfile: Dockerfile, name: str, before: int) -> int | None:
    """Index of the last stage of this name among those before another one."""
    named = [at for at in range(before) if dockerfile.stages[at].name == name.lower()]
    return named[-1] if named else None


def _stage_number(name: str, before: int) -> int | None:
    return int(name) if name.isdecimal() and int(name) < before else None


def _target_stage(dockerfile: Dockerfile, target: str | None) -> int:
    count = len(dockerfile.stages)
    if target is None:
        return count - 1
    at = _earlier_stage(dockerfile, target, count)
    at = _stage_number(target, count) if at is None else at
    if at is None:
        raise BadDockerfile(f"{dockerfile.name} has no stage '{target}'")
    return at


def stage_base(dockerfile: Dockerfile, stage: Stage, parameters: BuildParameters) -> BaseImage:
    """The image, stage or `scratch` that a FROM names. Raises BadSubstitution."""
    values, escape = global_args(dockerfile, parameters), dockerfile.escape
    platform = substitute(stage.platform or "", values, escape=escape)
    return BaseImage(substitute(stage.image, values, escape=escape), platform or None)


def base_images(
    dockerfile: Dockerfile, target: str | None, parameters: BuildParameters
) -> list[BaseImage]:
    """All images that the build of a target pulls, in the order of the file, without duplicates.

    Raises BadDockerfile for an unknown target, and BadSubstitution.
    """
    found: dict[int, list[BaseImage]] = {}
    _collect(dockerfile, _target_stage(dockerfile, target), parameters, found)
    return list(dict.fromkeys(base for at in sorted(found) for base in found[at]))


def _collect(
    dockerfile: Dockerfile, at: int, parameters: BuildParameters, found: dict[int, list[BaseImage]]
) -> None:
    """Adds the images of a stage, and of all stages that it depends on, to `found`."""
    if at in found:
        return
    found[at] = []
    stage = dockerfile.stages[at]
    base = stage_base(dockerfile, stage, parameters)
    if not base.image:
        raise BadDockerfile(f"{dockerfile.span(stage.opening)}: the image name is empty")
    dependencies = [(base, _earlier_stage(dockerfile, base.image, at))]
    for name in _copied_from(stage):
        number = _stage_number(name, at)
        earlier = _earlier_stage(dockerfile, name, at) if number is None else number
        dependencies.append((BaseImage(name, None), earlier))
    for image, earlier in dependencies:
        if earlier is not None:
            _collect(dockerfile, earlier, parameters, found)
        elif image.image != SCRATCH:
            found[at].append(image)


def _copied_from(stage: Stage) -> Iterator[str]:
    """Images and stages in `--from` and `--mount` flags of a stage."""
    for instruction in stage.instructions:
        for name, value in instruction.flags:
            if name == "from":
                source = value
            elif name == "mount":
                source = dict(part.partition("=")[::2] for part in value.split(",")).get("from", "")
            else:
                continue
            if "$" in source:
                raise BadSubstitution(f"variables are not allowed in `from`: '{source}'")
            if source:
                yield source


def stage_chain(
    dockerfile: Dockerfile, target: str | None, parameters: BuildParameters
) -> tuple[BaseImage, list[Stage]]:
    """The base image of a target, and the stages from that image to the target.

    Raises BadDockerfile for an unknown target, and BadSubstitution.
    """
    stages: list[Stage] = []
    at = _target_stage(dockerfile, target)
    while True:
        stages.insert(0, dockerfile.stages[at])
        base = stage_base(dockerfile, dockerfile.stages[at], parameters)
        earlier = _earlier_stage(dockerfile, base.image, at)
        if earlier is None:
            return base, stages
        at = earlier


def expand_instructions(
    dockerfile: Dockerfile,
    stages: Iterable[Stage],
    parameters: BuildParameters,
    env: Mapping[str, str],
) -> Iterator[Instruction]:
    """The instructions of a chain with variables expanded and quotes removed; FROM is unchanged.

    `env`: the variables of the chain's base image. ENV, LABEL and ARG keep the form `name=value`.
    Raises BadSubstitution.
    """
    outer = global_args(dockerfile, parameters)
    args: dict[str, str] = {}
    variables = dict(env)
    for written in (each for stage in stages for each in (stage.opening, *stage.instructions)):
        instruction = _expand(written, {**args, **variables}, dockerfile.escape)
        if instruction.keyword == "ENV":
            variables |= parse_pairs(instruction.words)
        elif instruction.keyword == "ARG":
            for word in instruction.words:
                name, has_default, default = word.partition("=")
                fallback = default if has_default else outer.get(name)
                value = parameters.build_args.get(name, fallback)
                if value is not None:
                    args[name] = value
        yield instruction


def parse_pairs(words: Iterable[str]) -> dict[str, str]:
    """The names and values of an expanded ENV or LABEL."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _expand(written: Instruction, values: Mapping[str, str], escape: str) -> Instruction:
    if written.keyword in _NOT_EXPANDED:
        return written
    words = []
    for word in written.words:
        name, equals, value = (
            word.partition("=") if written.keyword in _ASSIGNMENTS else (word, "", "")
        )
        both = [substitute(part, values, escape=escape) for part in (name, value)]
        words.append(equals.join(both) if equals else both[0])
    flags = tuple(
        (name, value if name == "from" else substitute(value, values, escape=escape))
        for name, value in written.flags
    )
    heredocs = tuple(
        replace(each, content=substitute(each.content, values, escape=escape, quotes=False))
        if each.expand
        else each
        for each in written.heredocs
    )
    return replace(written, words=tuple(words), flags=flags, heredocs=heredocs)
