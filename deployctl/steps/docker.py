"""The steps of prefect_docker: `build_docker_image` and `push_docker_image`.

They take what Prefect's functions of these names take, and give what those give. Four things
differ: nothing is built that is there already; a step without a tag gets one that says what is in
the image, where Prefect writes the time; a made-up Dockerfile is never written into the project
unless `persist_dockerfile` asks for it; and images get no label `io.prefect.version`, which would
make another image of the same content for each Prefect that deploys.
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
from deployctl.images.model import AUTO, Backend, BuildSpec, Image
from deployctl.images.reference import LATEST, Reference
from deployctl.steps.context import StepContext

OUTPUTS = ("image_name", "tag", "image", "image_id", "additional_tags")
PUSH_OUTPUTS = ("image_name", "tag", "image", "additional_tags")

_ARGUMENTS = ("buildargs", "build_args")
"""What docker-py and buildx call the build arguments."""
_PLATFORMS = ("platform", "platforms")


def find_docker_image(place: StepContext, inputs: Mapping[str, Json]) -> dict[str, Json] | None:
    """What `build_docker_image` will give, if the image is there already; raises as that does."""
    recipe = build_spec(inputs, place.folder, place.namespace)
    image = place.images.find(recipe)
    return {**_told(image, recipe.additional_tags), "image_id": image.id} if image else None


def build_docker_image(place: StepContext, _name: str, **inputs: Any) -> dict[str, Json]:
    """Builds an image, or finds it. Raises ProgramError and what the builder raises."""
    recipe = build_spec(inputs, place.folder, place.namespace)
    if inputs.get("persist_dockerfile") and recipe.dockerfile == AUTO:
        _keep_dockerfile(place, recipe, inputs.get("dockerfile_output_path"))
    image = place.images.build(recipe)
    return {**_told(image, recipe.additional_tags), "image_id": image.id}


def _keep_dockerfile(place: StepContext, recipe: BuildSpec, name: Json) -> None:
    path = place.folder / str(name or "Dockerfile.generated")
    if text := place.images.dockerfile_text(recipe):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ProgramError(f"'{path}' cannot be written: {error.strerror}") from error


def log_in(place: StepContext, built: Mapping[str, Json], pushed: Mapping[str, Json]) -> None:
    """Has the image of a build step looked up by the login that a push step of it names.

    Raises ProgramError and BadReference for inputs that no step can have.
    """
    name = full_name(str(built["image_name"]), place.namespace)
    login = _login(pushed["credentials"])
    if login and _published(pushed, place.namespace)[0] == name:
        place.images.use_credentials(name, login)


def find_pushed_image(place: StepContext, inputs: Mapping[str, Json]) -> dict[str, Json] | None:
    """What `push_docker_image` will give, if the image that it pushes was found where it goes."""
    name, tag, more = _published(inputs, place.namespace)
    image = place.images.find_pushed(name, tag, more)
    return _told(image, more) if image else None


def push_docker_image(place: StepContext, _name: str, **inputs: Any) -> dict[str, Json]:
    """Puts an image into its registry. Raises ProgramError and what the builder raises."""
    name, tag, more = _published(inputs, place.namespace)
    login = _login(inputs.get("credentials"))
    try:
        image = place.images.push(name, tag, more, login)
    except Denied as error:
        if login and matching_credentials(Reference.parse(name), login):
            error.help = (
                f"the step's own `credentials`, of '{login.username}', are wrong or may not push"
                " there; they come before the login of Docker"
            )
        raise
    return _told(image, more)


def check_build_inputs(inputs: Mapping[str, Json]) -> None:
    """Raises BadReference for a name or tag of a build step that Docker would refuse."""
    _tags(str(inputs["image_name"]), inputs.get("tag"), inputs.get("additional_tags"))


def check_push_inputs(inputs: Mapping[str, Json]) -> None:
    """Raises BadReference for a name or tag of a push step that Docker would refuse."""
    _published(inputs, "")


def _published(
    inputs: Mapping[str, Json], namespace: str
) -> tuple[str, str | None, tuple[str, ...]]:
    """Name, tag and further tags of what a push step pushes. Raises BadReference."""
    name, tag = full_name(str(inputs["image_name"]), namespace), str(inputs.get("tag") or "")
    if not tag and (tag := Reference.parse(name).tag or ""):
        name = name.removesuffix(f":{tag}")
    return name, tag or None, _tags(name, tag, inputs.get("additional_tags"))


def _tags(name: str, tag: Json, more: Json) -> tuple[str, ...]:
    """The further tags of an image. Raises BadReference for whatever Docker would refuse."""
    further = tuple(map(str, more or ()))
    for each in (str(tag or LATEST), *further):
        Reference.parse(f"{name}:{each}")
    return further


def build_spec(inputs: Mapping[str, Json], folder: Path, namespace: str) -> BuildSpec:
    """What the inputs of a build step ask for. Raises BadReference, and ProgramError for what
    cannot be meant."""
    name = full_name(str(inputs["image_name"]), namespace)
    rest = {key: value for key, value in inputs.items() if key not in _OWN}
    arguments = _first(rest, _ARGUMENTS)
    platform = _first(rest, _PLATFORMS)
    platforms = platform if isinstance(platform, list) else [platform] if platform else []
    backend = _backend(inputs.get("build_backend"))
    if len(platforms) > 1 and backend != "buildx":
        raise ProgramError(
            "only buildx can build an image for several platforms",
            help="say `build_backend: buildx` in the build step, or name one platform",
        )
    target = rest.pop("target", None)
    return BuildSpec(
        name=name,
        context=folder / str(rest.pop("path", None) or rest.pop("context_path", None) or "."),
        dockerfile=str(inputs.get("dockerfile") or "Dockerfile"),
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
    raise ProgramError(f"'{name}' is not a build backend", help="there are docker-py and buildx")


def _texts(values: Json) -> dict[str, str]:
    """Names and values of arguments or labels, without those that are null."""
    return {name: str(value) for name, value in (values or {}).items() if value is not None}


def full_name(name: str, namespace: str) -> str:
    """The name of an image, with the namespace in front if it has neither registry nor owner."""
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
    """A platform as Docker reads it: of Linux, if it is an architecture alone."""
    return text if "/" in text else f"linux/{text}"


def _first(rest: dict[str, Json], names: Sequence[str]) -> Json:
    """The value under one of several names for the same; none of them stays in `rest`."""
    found = [rest.pop(name, None) for name in names]
    return next((value for value in found if value), None)


def _login(credentials: Json) -> StepCredentials | None:
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
            help="name a block: '{{ prefect.blocks.docker-registry-credentials.NAME }}'",
        ) from error


def _told(image: Image, more: Sequence[str]) -> dict[str, Json]:
    return {
        "image_name": image.name,
        "tag": image.tag,
        "image": f"{image.name}:{image.tag}",
        "additional_tags": list(more),
    }
