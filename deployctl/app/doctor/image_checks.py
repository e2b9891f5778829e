"""Checks of what builds and holds images: the engine, buildx, registries, and the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployctl.app.doctor.model import Area, Check, Reading, failed, failed_with, ok, skipped
from deployctl.app.doctor.project_checks import ProjectFindings
from deployctl.clients import process
from deployctl.clients.docker import Engine, EngineRefused, EngineUnreachable
from deployctl.clients.registry.errors import Denied, NotInRegistry, RegistryError
from deployctl.core.errors import DeployctlError, ProgramError
from deployctl.images.credentials import CredentialsError
from deployctl.images.distribution import Registries
from deployctl.images.reference import ImageReference

_UNLESS_RUN = ", which Dockerfiles with RUN instructions need"
_NOT_NEEDED = "the project builds no image"


@dataclass(frozen=True, slots=True)
class Tool:
    """What was found of a program or a service of this machine."""

    version: str = ""
    error: DeployctlError | None = None


def read_engine(seconds: float) -> Tool:
    """Asks the container engine for its version."""
    engine = Engine(timeout=seconds)
    try:
        return Tool(f"version {engine.info().get('ServerVersion') or 'unknown'}")
    except (EngineRefused, EngineUnreachable) as error:
        return Tool(error=error)
    finally:
        engine.close()


def read_buildx(environ: Mapping[str, str], seconds: float) -> Tool:
    """Asks docker's buildx plugin for its version."""
    try:
        done = process.run(
            ["docker", "buildx", "version"], cwd=Path.cwd(), env=environ, timeout=seconds
        )
    except ProgramError as error:
        return Tool(error=error)
    if done.returncode:
        return Tool(error=ProgramError("the docker command has no buildx plugin"))
    return Tool(" ".join(done.stdout.split()[1:2]))


def engine_check(found: Reading[Tool], project: ProjectFindings, *, in_pod: bool) -> Check:
    """Judges the engine, which only buildx needs in every case.

    Without one, `--builder auto` builds images without an engine.
    """
    name = "docker engine"
    if found.value and not found.value.error:
        return ok(Area.IMAGES, name, found.value.version)
    if not project.builds:
        return skipped(Area.IMAGES, name, _NOT_NEEDED)
    if in_pod:
        return skipped(Area.IMAGES, name, "this is a pod, where images are built without an engine")
    error = (found.value and found.value.error) or EngineUnreachable("", "it takes too long")
    if project.uses_buildx:
        return failed_with(Area.IMAGES, name, error)
    reason = f"{error.message}; images would be built without an engine{_UNLESS_RUN}"
    return skipped(Area.IMAGES, name, reason)


def buildx_check(found: Reading[Tool], project: ProjectFindings) -> Check:
    """Judges buildx, which only steps with `build_backend: buildx` need."""
    if found.value and not found.value.error:
        return ok(Area.IMAGES, "buildx", found.value.version)
    if not project.uses_buildx:
        return skipped(Area.IMAGES, "buildx", "no step of the project uses it")
    error = (found.value and found.value.error) or ProgramError("buildx takes too long")
    fix = "Install it: `apt-get install docker-buildx`, or remove `build_backend` from the step."
    return failed(Area.IMAGES, "buildx", error.message, fix)


def push_checks(image: str, registries: Registries) -> Iterator[Check]:
    """Asks a registry whether the image may be pushed; an upload is started and cancelled."""
    reference = ImageReference.parse(image)
    name = f"push to {reference.familiar()}"
    try:
        registries.check_push(reference)
    except (RegistryError, CredentialsError) as error:
        yield failed_with(Area.IMAGES, name, error)
    else:
        yield ok(Area.IMAGES, name, "allowed")


def image_checks(image: str, registries: Registries) -> Iterator[Check]:
    """Looks for the image of a job in its registry.

    What only this machine is denied, or cannot reach, the cluster may well pull.
    """
    name = f"image {image}"
    try:
        reference = ImageReference.parse(image)
    except DeployctlError as error:
        yield failed_with(Area.IMAGES, name, error, "Correct the job variable `image`.")
        return
    try:
        digest = registries.head(reference)
    except NotInRegistry:
        digest = None
    except Denied as error:
        yield skipped(Area.IMAGES, name, f"only its pull secrets decide: {error.message}")
        return
    except (RegistryError, CredentialsError) as error:
        yield skipped(Area.IMAGES, name, error.message)
        return
    if digest is None:
        yield failed(
            Area.IMAGES,
            name,
            f"the registry '{reference.registry}' has no image '{reference.familiar()}'",
            "Push it with `deployctl deploy --all`, or correct the job variable `image`.",
        )
    else:
        yield ok(Area.IMAGES, name, digest)
