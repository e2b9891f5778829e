"""From options to use cases: what `validate`, `plan` and `deploy` begin with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from deployctl.api.dialect import detect
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.build_steps import BuildPlan
from deployctl.app.deploying.images_file import read_build_outputs
from deployctl.app.deploying.load import LoadedProject, LoadOptions, load_project
from deployctl.app.deploying.prepare import PreparedPlan, prepare
from deployctl.cli.command import CommandContext
from deployctl.cli.exit import Exit
from deployctl.cli.options import (
    BuilderOptions,
    DeployOptions,
    ImageOptions,
    OverrideOptions,
    SelectionOptions,
)
from deployctl.core import redact
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import SettingsError, UsageError
from deployctl.deploy.model import Plan
from deployctl.images.pipeline import FixedImage, ImagePipeline
from deployctl.project import overrides
from deployctl.project.parse import check_same_names
from deployctl.project.selection import Selection

DEFAULT_FILE = Path("prefect.yaml")


def load_all(now: CommandContext, order: LoadOptions, files: list[Path]) -> list[LoadedProject]:
    """Reads every file. Ends the command if anything that was found forbids to go on."""
    redact.register_secrets(
        value for name, value in os.environ.items() if redact.is_secret_name(name)
    )
    loaded = []
    for path in files or [DEFAULT_FILE]:
        now.sources[str(path)] = _text(path)
        found = load_project(path, order, now.report, os.environ)
        if found is not None:
            loaded.append(found)
    check_same_names(
        [(found.spec, found.facts.name) for each in loaded for found in each.selected], now.report
    )
    count = sum(len(each.selected) for each in loaded)
    names = ", ".join(str(path) for path in files or [DEFAULT_FILE])
    now.subject = f"{count} deployment{'s' * (count != 1)} in {names}"
    if now.hopeless:
        raise Exit(1)
    return loaded


def order_of(
    choosing: SelectionOptions,
    overriding: OverrideOptions,
    deploying: DeployOptions,
    imaging: ImageOptions,
) -> LoadOptions:
    """What the options ask for. Raises UsageError."""
    if imaging.images and (imaging.skip_build or imaging.image is not None):
        raise UsageError("--images excludes --skip-build and --image", help="leave one of them out")
    for option, given in (("--images", imaging.images), ("--image", imaging.image)):
        if given in ("", Path()):
            raise UsageError(f"{option} is empty", help="name what to deploy, or leave it out")
    overrides = _overrides(overriding)
    if imaging.image:
        variables = {**overrides.job_variables, "image": imaging.image}
        overrides = replace(overrides, job_variables=variables)
    return LoadOptions(
        Selection(choosing.everything, tuple(choosing.name), choosing.entrypoint or ""),
        overrides,
        deploying.project,
        imaging.skip_build or imaging.images is not None,
    )


def every_or(choosing: SelectionOptions) -> Selection:
    """All deployments, or those that are named. Raises UsageError."""
    some = bool(choosing.name or choosing.entrypoint)
    return Selection(not some, tuple(choosing.name), choosing.entrypoint or "")


@contextmanager
def building(
    now: CommandContext,
    loaded: list[LoadedProject],
    opened: Session,
    imaging: ImageOptions,
    *,
    look: bool = False,
) -> Iterator[BuildPlan]:
    """What is to be done about build and push steps. Raises BadImagesFile, BadReference.

    `look`: for a plan that nothing follows, images are looked for that are there already.
    """
    if imaging.images:
        yield BuildPlan(outputs=read_build_outputs(imaging.images), pin_digests=imaging.pin)
    elif imaging.skip_build:
        yield BuildPlan(skip=True)
    elif imaging.image:
        yield BuildPlan(
            image_provider=FixedImage(imaging.image), find_existing=look, pin_digests=imaging.pin
        )
    elif not any(each.has_image_steps for each in loaded):
        yield BuildPlan()
    else:
        with making_of(now, imaging, lambda: opened, opened.cancellation) as images:
            yield BuildPlan(image_provider=images, find_existing=look, pin_digests=imaging.pin)


def making_of(
    now: CommandContext,
    making_: BuilderOptions,
    session: Callable[[], Session],
    stop: CancellationToken,
) -> AbstractContextManager[ImagePipeline]:
    """What makes images; `session` is asked for only where the server's version is needed."""
    from deployctl.app.deploying.image_builders import open_image_pipeline

    def release() -> str:
        try:
            opened = session()
        except SettingsError as error:
            raise SettingsError(
                f"`dockerfile: auto` needs a version of Prefect, and {error.message}",
                help=f"Install Prefect into the project's '.venv'. Or: {error.help}",
            ) from error
        dialect = run(detect(opened.settings.is_cloud), opened)
        return ".".join(map(str, dialect.version))

    return open_image_pipeline(
        making_.builder, Path.cwd(), os.environ, release, now.narrator.output, stop
    )


def prepare_all(
    now: CommandContext,
    loaded: list[LoadedProject],
    opened: Session,
    deploying: DeployOptions,
    building: BuildPlan,
) -> list[PreparedPlan]:
    """Plans every project. Ends the command if anything that was found forbids to go on."""
    now.narrator.phase("reading the server")
    prepared: list[PreparedPlan] = []
    for each in loaded:
        before = {name: pool for one in prepared for name, pool in one.inputs.pools.items()}
        prepared.append(
            prepare(
                each,
                opened,
                now.report,
                os.environ,
                Path.cwd(),
                building,
                create_pools=deploying.create_pools,
                before=before,
            )
        )
    show_plan(now, prepared)
    return prepared


def show_plan(now: CommandContext, prepared: list[PreparedPlan]) -> None:
    """Keeps the plan of all projects for the renderers; ends the command if it is of no use."""
    if now.hopeless:
        raise Exit(1)
    now.plan = Plan(tuple(change for each in prepared for change in each.plan.changes))
    now.target += f" ({prepared[0].dialect})" if prepared and "(" not in now.target else ""


def _text(path: Path) -> str:
    """What is in a file, as far as it is text: to show where something is wrong."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _overrides(given: OverrideOptions) -> overrides.Overrides:
    parameters = overrides.parse_assignments("--param", given.param)
    if given.params:
        parameters |= overrides.parse_json_object("--params", given.params)
    return overrides.Overrides(
        description=given.description,
        version=given.version,
        version_type=given.version_type,
        tags=tuple(given.tag),
        concurrency_limit=given.concurrency_limit,
        collision_strategy=given.collision_strategy,
        work_pool=given.pool,
        work_queue=given.work_queue,
        job_variables=overrides.parse_assignments("--job-variable", given.job_variable),
        schedules=overrides.schedules(given.cron, given.interval, given.rrule),
        timezone=given.timezone,
        anchor_date=given.anchor_date,
        triggers=overrides.parse_definitions("--trigger", given.trigger, "triggers"),
        parameters=parameters,
        sla=overrides.parse_definitions("--sla", given.sla, "sla"),
        enforce_parameter_schema=given.enforce_parameter_schema,
    )
