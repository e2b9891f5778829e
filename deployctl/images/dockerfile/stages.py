"""What a Dockerfile means: its variables at each place, and the images and stages that it needs.

A build argument counts where an ARG declares it, from that line on; ENV is stronger than ARG; what
stands before the first FROM is for the FROMs, until a stage declares it again without a value. A
stage that begins from another one has that one's variables. What cannot be known before the build
is refused (DC703, DC704), not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from deployctl.core.errors import DeployctlError
from deployctl.images.dockerfile.parser import Dockerfile, Instruction, Stage
from deployctl.images.dockerfile.substitution import BadSubstitution, substitute

SCRATCH = "scratch"
_AS_WRITTEN = frozenset({"FROM", "RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK", "ONBUILD"})
"""Their variables are replaced when they run, or never; those of FROM by `base_of`."""


class BadDockerfile(DeployctlError):
    """The Dockerfile has mistakes, or needs what cannot be known before the build."""

    code = "DC703"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that a build needs."""

    image: str
    """Its name, with all variables replaced."""
    platform: str | None
    """`os/architecture[/variant]`; None is that of the build."""


@dataclass(frozen=True, slots=True)
class BuildParameters:
    """What the build is told from outside."""

    arguments: Mapping[str, str]
    platform: str
    """What the image is for."""
    machine: str
    """The platform of the machine that builds."""


def require_valid(dockerfile: Dockerfile) -> Dockerfile:
    """The same Dockerfile. Raises BadDockerfile with the first of its problems."""
    for problem in dockerfile.problems:
        raise BadDockerfile(f"{problem.span}: {problem.message}", help=problem.help)
    return dockerfile


def declared_args(dockerfile: Dockerfile) -> set[str]:
    """The names of all build arguments that some ARG takes."""
    stages = [found for stage in dockerfile.stages for found in stage.instructions]
    return {
        word.partition("=")[0]
        for found in [*dockerfile.arguments, *stages]
        if found.keyword == "ARG"
        for word in found.words
    }


def global_args(dockerfile: Dockerfile, given: BuildParameters) -> dict[str, str]:
    """The variables that FROM can use. Raises BadSubstitution."""
    values = _platform_arguments(given)
    for instruction in dockerfile.arguments:
        for word in instruction.words:
            name, has_default, default = word.partition("=")
            if name in given.arguments:
                values[name] = given.arguments[name]
            elif has_default:
                values[name] = substitute(default, values, escape=dockerfile.escape)
    return values


def _platform_arguments(given: BuildParameters) -> dict[str, str]:
    values = {}
    for prefix, platform in (("TARGET", given.platform), ("BUILD", given.machine)):
        system, architecture, variant = (*platform.split("/"), "", "")[:3]
        values[f"{prefix}PLATFORM"] = platform
        values[f"{prefix}OS"] = system
        values[f"{prefix}ARCH"] = architecture
        values[f"{prefix}VARIANT"] = variant
    return values


def _stage_above(dockerfile: Dockerfile, name: str, at: int) -> int | None:
    """The position of the stage of this name, among those above another one."""
    named = [above for above in range(at) if dockerfile.stages[above].name == name.lower()]
    return named[-1] if named else None


def _stage_numbered(name: str, before: int) -> int | None:
    return int(name) if name.isdecimal() and int(name) < before else None


def _target(dockerfile: Dockerfile, target: str | None) -> int:
    count = len(dockerfile.stages)
    if target is None:
        return count - 1
    at = _stage_above(dockerfile, target, count)
    at = _stage_numbered(target, count) if at is None else at
    if at is None:
        raise BadDockerfile(f"{dockerfile.name} has no stage '{target}'")
    return at


def stage_base(dockerfile: Dockerfile, stage: Stage, given: BuildParameters) -> BaseImage:
    """What a stage's FROM names: an image, `scratch` or a stage. Raises BadSubstitution."""
    values, escape = global_args(dockerfile, given), dockerfile.escape
    platform = substitute(stage.platform or "", values, escape=escape)
    return BaseImage(substitute(stage.image, values, escape=escape), platform or None)


def base_images(
    dockerfile: Dockerfile, target: str | None, given: BuildParameters
) -> list[BaseImage]:
    """All images that a target needs, in the order of the file, each once.

    Raises BadDockerfile for a target that is not there, and BadSubstitution.
    """
    at = _target(dockerfile, target)
    found: dict[int, list[BaseImage]] = {}
    _collect(dockerfile, at, given, found)
    return list(dict.fromkeys(base for each in sorted(found) for base in found[each]))


def _collect(
    dockerfile: Dockerfile, at: int, given: BuildParameters, found: dict[int, list[BaseImage]]
) -> None:
    """Notes the images of a stage and of all stages that it needs."""
    if at in found:
        return
    found[at] = []
    stage = dockerfile.stages[at]
    base = stage_base(dockerfile, stage, given)
    if not base.image:
        raise BadDockerfile(f"{dockerfile.span(stage.opening)}: the name of the image is empty")
    others = [(base, _stage_above(dockerfile, base.image, at))]
    for name in _sources(stage):
        number = _stage_numbered(name, at)
        above = _stage_above(dockerfile, name, at) if number is None else number
        others.append((BaseImage(name, None), above))
    for image, above in others:
        if above is not None:
            _collect(dockerfile, above, given, found)
        elif image.image != SCRATCH:
            found[at].append(image)


def _sources(stage: Stage) -> Iterator[str]:
    """What COPY and RUN of a stage take files from: images or other stages."""
    for instruction in stage.instructions:
        for name, value in instruction.flags:
            if name == "from":
                source = value
            elif name == "mount":
                source = dict(part.partition("=")[::2] for part in value.split(",")).get("from", "")
            else:
                continue
            if "$" in source:
                raise BadSubstitution(f"'{source}': a variable cannot say where files come from")
            if source:
                yield source


def stage_chain(
    dockerfile: Dockerfile, target: str | None, given: BuildParameters
) -> tuple[BaseImage, list[Stage]]:
    """The image that a target begins from, and the stages that lead from there to it.

    Raises BadDockerfile for a target that is not there, and BadSubstitution.
    """
    stages: list[Stage] = []
    at = _target(dockerfile, target)
    while True:
        stages.insert(0, dockerfile.stages[at])
        base = stage_base(dockerfile, dockerfile.stages[at], given)
        above = _stage_above(dockerfile, base.image, at)
        if above is None:
            return base, stages
        at = above


def expand_instructions(
    dockerfile: Dockerfile, stages: Iterable[Stage], given: BuildParameters, env: Mapping[str, str]
) -> Iterator[Instruction]:
    """The instructions of a chain with all variables replaced and quotes gone, and each FROM as it
    is written.

    `env`: the variables of the image that the chain begins from. ENV, LABEL and ARG keep the form
    `name=value`. Raises BadSubstitution.
    """
    outside = global_args(dockerfile, given)
    arguments: dict[str, str] = {}
    variables = dict(env)
    for written in (found for each in stages for found in (each.opening, *each.instructions)):
        instruction = _expanded(written, {**arguments, **variables}, dockerfile.escape)
        if instruction.keyword == "ENV":
            variables |= parse_pairs(instruction.words)
        elif instruction.keyword == "ARG":
            for word in instruction.words:
                name, has_default, default = word.partition("=")
                value = given.arguments.get(name, default if has_default else outside.get(name))
                if value is not None:
                    arguments[name] = value
        yield instruction


def parse_pairs(words: Iterable[str]) -> dict[str, str]:
    """The names and values of a resolved ENV or LABEL."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _expanded(written: Instruction, values: Mapping[str, str], escape: str) -> Instruction:
    if written.keyword in _AS_WRITTEN:
        return written
    words = []
    for word in written.words:
        name, equals, value = (
            word.partition("=") if written.keyword in ("ENV", "LABEL", "ARG") else (word, "", "")
        )
        both = [substitute(part, values, escape=escape) for part in (name, value)]
        words.append(equals.join(both) if equals else both[0])
    flags = tuple(
        (name, value if name == "from" else substitute(value, values, escape=escape))
        for name, value in written.flags
    )
    heredocs = tuple(
        replace(found, content=substitute(found.content, values, escape=escape, quotes=False))
        if found.expand
        else found
        for found in written.heredocs
    )
    return replace(written, words=tuple(words), flags=flags, heredocs=heredocs)
