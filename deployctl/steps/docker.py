"""The steps of prefect_docker: `build_docker_image` and `push_docker_image`.

They have the inputs and outputs of Prefect's functions of these names. Four things differ: an
existing image isn't built again; a step without a tag gets a content tag, where Prefect uses the
time; a generated Dockerfile is written into the project only with `persist_dockerfile`; and images
get no label `io.prefect.version`, which would make another image of the same content for each
version of Prefect that deploys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployctl.clients.registry.errors import Denied
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.images.builder import StepCredentials
from deployctl.images.credentials import matching_credentials
from deployctl.images.dockerfile.auto import image_directories
from deployctl.images.model import AUTO, Backend, BuildSpec, Image
from deployctl.images.reference import LATEST, ImageReference
from deployctl.steps.context import StepContext

OUTPUTS = ("image_name", "tag", "image", "image_id", "additional_tags")
PUSH_OUTPUTS = ("image_name", "tag", "image", "additional_tags")

_ARGUMENTS = ("buildargs", "build_args")
"""The names of the build arguments in docker-py and buildx."""
_PLATFORMS = ("platform", "platforms")


def find_docker_image(context: StepContext, inputs: Mapping[str, Json]) -> dict[str, Json] | None:
    """The outputs of `build_docker_image` if the image exists; raises what that raises."""
    spec = build_spec(inputs, context.folder, context.namespace, context.project)
    image = context.images.find(spec)
    return {**_outputs(image, spec.additional_tags), "image_id": image.id} if image else None


def build_docker_image(context: StepContext, _name: str, **inputs: Any) -> dict[str, Json]:
    """Builds an image, or finds it. Raises ProgramError and the errors of the builder."""
    spec = build_spec(inputs, context.folder, context.namespace, context.project)
    if inputs.get("persist_dockerfile") and spec.dockerfile == AUTO:
        _write_dockerfile(context, spec, inputs.get("dockerfile_output_path"))
    image = context.images.build(spec)
    return {**_outputs(image, spec.additional_tags), "image_id": image.id}


def _write_dockerfile(context: StepContext, spec: BuildSpec, name: Json) -> None:
    path = context.folder / str(name or "Dockerfile.generated")
    if text := context.images.dockerfile_text(spec):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ProgramError(f"cannot write '{path}': {error.strerror}") from error


def use_push_credentials(
    context: StepContext, built: Mapping[str, Json], pushed: Mapping[str, Json]
) -> None:
    """Uses the credentials of a push step to look up the image of a build step.

    Raises ProgramError and BadReference for invalid inputs.
    """
    name = full_name(str(built["image_name"]), context.namespace)
    credentials = _credentials(pushed["credentials"])
    if credentials and _push_target(pushed, context.namespace)[0] == name:
        context.images.use_credentials(name, credentials)


def find_pushed_image(context: StepContext, inputs: Mapping[str, Json]) -> dict[str, Json] | None:
    """The outputs of `push_docker_image` if the registry has the image."""
    name, tag, more = _push_target(inputs, context.namespace)
    image = context.images.find_pushed(name, tag, more)
    return _outputs(image, more) if image else None


def push_docker_image(context: StepContext, _name: str, **inputs: Any) -> dict[str, Json]:
    """Pushes an image to its registry. Raises ProgramError and the errors of the builder."""
    name, tag, more = _push_target(inputs, context.namespace)
    credentials = _credentials(inputs.get("credentials"))
    try:
        image = context.images.push(name, tag, more, credentials)
    except Denied as error:
        if credentials and matching_credentials(ImageReference.parse(name), credentials):
            error.help = (
                f"The step's own `credentials`, of '{credentials.username}', are invalid or may "
                "not push there. They take precedence over Docker's."
            )
        raise
    return _outputs(image, more)


def check_build_inputs(inputs: Mapping[str, Json]) -> None:
    """Raises BadReference for a name or tag of a build step that Docker refuses."""
    _tags(str(inputs["image_name"]), inputs.get("tag"), inputs.get("additional_tags"))


def check_push_inputs(inputs: Mapping[str, Json]) -> None:
    """Raises BadReference for a name or tag of a push step that Docker refuses."""
    _push_target(inputs, "")


def _push_target(
    inputs: Mapping[str, Json], namespace: str
) -> tuple[str, str | None, tuple[str, ...]]:
    """Name, tag and further tags of the image of a push step. Raises BadReference."""
    name, tag = full_name(str(inputs["image_name"]), namespace), str(inputs.get("tag") or "")
    if not tag and (tag := ImageReference.parse(name).tag or ""):
        name = name.removesuffix(f":{tag}")
    return name, tag or None, _tags(name, tag, inputs.get("additional_tags"))


def _tags(name: str, tag: Json, more: Json) -> tuple[str, ...]:
    """The further tags of an image. Raises BadReference for names that Docker refuses."""
    further = tuple(map(str, more or ()))
    for each in (str(tag or LATEST), *further):
        ImageReference.parse(f"{name}:{each}")
    return further


def build_context(inputs: Mapping[str, Json], folder: Path) -> Path:
    """The directory of the build context of a build step that runs in a folder."""
    return folder / str(inputs.get("path") or inputs.get("context_path") or ".")


def build_spec(
    inputs: Mapping[str, Json], folder: Path, namespace: str, project: Path | None = None
) -> BuildSpec:
    """The build spec for the inputs of a build step.

    `project` is the folder in which deployctl runs, if it isn't `folder`.
    Raises BadReference, and ProgramError for inputs that contradict each other.
    """
    name = full_name(str(inputs["image_name"]), namespace)
    rest = {key: value for key, value in inputs.items() if key not in _OWN}
    arguments = _first(rest, _ARGUMENTS)
    platform = _first(rest, _PLATFORMS)
    platforms = platform if isinstance(platform, list) else [platform] if platform else []
    backend = _backend(inputs.get("build_backend"))
    if len(platforms) > 1 and backend != "buildx":
        raise ProgramError(
            "only buildx can build an image for several platforms",
            help="Write `build_backend: buildx` in the build step, or name one platform.",
        )
    target = rest.pop("target", None)
    context = build_context(inputs, folder)
    if not rest.pop("path", None):
        rest.pop("context_path", None)
    dockerfile = str(inputs.get("dockerfile") or "Dockerfile")
    return BuildSpec(
        name=name,
        context=context,
        dockerfile=dockerfile,
        home=image_directories(context, project or folder)[0] if dockerfile == AUTO else "",
        tag=str(inputs["tag"]) if inputs.get("tag") else None,
        additional_tags=_tags(name, inputs.get("tag"), inputs.get("additional_tags")),
        build_args=_texts(arguments),
        target=str(target) if target else None,
        platform=",".join(_platform(str(each)) for each in platforms) or None,
        labels=_texts(rest.pop("labels", None)),
        ignore_cache=bool(inputs.get("ignore_cache")),
        backend=backend,
        options=rest,
    )


def _backend(name: Json) -> Backend:
    if name in (None, "docker-py"):
        return "docker-py"
    if name == "buildx":
        return "buildx"
    raise ProgramError(f"'{name}' is not a build backend", help="Use docker-py or buildx.")


def _texts(values: Json) -> dict[str, str]:
    """Build arguments or labels as texts, without those that are null."""
    return {name: str(value) for name, value in (values or {}).items() if value is not None}


def full_name(name: str, namespace: str) -> str:
    """An image name, with the namespace prepended if it has neither registry nor owner."""
    return f"{namespace.rstrip('/')}/{name}" if namespace and "/" not in name else name


_OWN = frozenset(
    {
        "image_name",
        "dockerfile",
        "tag",
        "additional_tags",
        "ignore_cache",
        "persist_dockerfile",
        "dockerfile_output_path",
        "build_backend",
    }
)


def _platform(text: str) -> str:
    """A platform as Docker reads it: an architecture alone is one of Linux."""
    return text if "/" in text else f"linux/{text}"


def _first(rest: dict[str, Json], names: Sequence[str]) -> Json:
    """The value of an input that has several names; removes all of them from `rest`."""
    found = [rest.pop(name, None) for name in names]
    return next((value for value in found if value), None)


def _credentials(credentials: Json) -> StepCredentials | None:
    if not credentials:
        return None
    try:
        return StepCredentials(
            str(credentials["username"]),
            str(credentials["password"]),
            str(credentials.get("registry_url") or ""),
        )
    except (KeyError, TypeError) as error:
        raise ProgramError(
            "'credentials' need a username and a password",
            help="Use a block: '{{ prefect.blocks.docker-registry-credentials.NAME }}'.",
        ) from error


def _outputs(image: Image, more: Sequence[str]) -> dict[str, Json]:
    return {
        "image_name": image.name,
        "tag": image.tag,
        "image": f"{image.name}:{image.tag}",
        "additional_tags": list(more),
    }
