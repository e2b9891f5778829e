"""Options of the commands that load prefect.yaml: selection, deploy, build and overrides."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from deployctl.cli import completion
from deployctl.cli.options import OUTPUT, option
from deployctl.images.model import BuilderChoice

DEPLOY = "Deploy"
HOOK = "Hooks of a pod"
BUILD = "Build"
OVERRIDES = "Overrides (default: what prefect.yaml says)"


@dataclasses.dataclass(frozen=True)
class DeployOptions:
    """How to deploy."""

    project: Annotated[
        str | None,
        option(
            "--project NAME",
            DEPLOY,
            "Name under which the last applied state is recorded.",
            default="the file's 'name'",
        ),
    ] = None
    keep_going: Annotated[
        bool,
        option(
            "--keep-going",
            DEPLOY,
            "Leave deployments with errors out instead of stopping, and exit with code 1.",
        ),
    ] = False
    prune: Annotated[
        bool,
        option(
            "--prune",
            DEPLOY,
            "Delete what the project applied earlier and no longer declares. Needs all deployments "
            "and a project name.",
        ),
    ] = False
    confirmed: Annotated[
        bool,
        option(
            "--yes",
            DEPLOY,
            "Prune also more than half of the project, and what others use or declare.",
        ),
    ] = False
    take_over: Annotated[
        bool,
        option(
            "--take-over",
            DEPLOY,
            "Move deployments that another project declares to this project.",
        ),
    ] = False
    create_pools: Annotated[
        bool, option("--create-pools", DEPLOY, "Create missing work pools, with type kubernetes.")
    ] = False
    full: Annotated[
        bool,
        option(
            "--full",
            OUTPUT,
            "Show every field and line of the plan. Without a terminal, this is the default.",
        ),
    ] = False
    prompt: Annotated[
        bool,
        option(
            "--prompt/--no-prompt",
            DEPLOY,
            "Accepted for compatibility; deployctl never prompts.",
            hidden=True,
        ),
    ] = False


class OnError(StrEnum):
    """The values of `--on-error`."""

    FAIL = "fail"
    WARN = "warn"


@dataclasses.dataclass(frozen=True)
class HookOptions:
    """How to deploy when a pod starts."""

    timeout: Annotated[
        float | None,
        option(
            "--timeout SECONDS",
            HOOK,
            "Stop after SECONDS, builds and all waits included, and exit with code 1.",
            min=1,
            default="no limit",
        ),
    ] = None
    on_error: Annotated[
        OnError,
        option(
            "--on-error",
            HOOK,
            "What to do after an error: exit with its code, or warn and exit with code 0, so "
            "that the container starts.",
        ),
    ] = OnError.FAIL
    container_log: Annotated[
        bool,
        option(
            "--container-log",
            HOOK,
            "Copy the output to the log of the container, for a postStart hook.",
        ),
    ] = False


@dataclasses.dataclass(frozen=True)
class BuilderOptions:
    """How images are built."""

    builder: Annotated[
        BuilderChoice,
        option(
            "--builder",
            BUILD,
            "Build with Docker, or assemble images without it. auto uses Docker if an "
            "engine responds.",
            envvar="DEPLOYCTL_BUILDER",
            show_envvar=True,
        ),
    ] = BuilderChoice.AUTO


@dataclasses.dataclass(frozen=True)
class ImageOptions(BuilderOptions):
    """Which images the deployments get."""

    skip_build: Annotated[bool, option("--skip-build", BUILD, "Skip all build and push steps.")] = (
        False
    )
    images: Annotated[
        Path | None,
        option(
            "--images FILE",
            BUILD,
            "Use the outputs in FILE, written by `deployctl build --output json`.",
            default="run the steps",
        ),
    ] = None
    image: Annotated[
        str | None,
        option(
            "--image REF",
            BUILD,
            "Use this image for all selected deployments instead of building one.",
            default="build it",
        ),
    ] = None
    pin: Annotated[
        bool,
        option("--pin/--no-pin", BUILD, "Register pushed images by digest (name:tag@sha256:…)."),
    ] = True


@dataclasses.dataclass(frozen=True)
class OverrideOptions:
    """Options of `prefect deploy` that override the file for all selected deployments."""

    description: Annotated[
        str | None, option("--description, -d TEXT", OVERRIDES, "Set the description.")
    ] = None
    version: Annotated[str | None, option("--version VERSION", OVERRIDES, "Set the version.")] = (
        None
    )
    version_type: Annotated[
        str | None,
        option(
            "--version-type TYPE", OVERRIDES, "Set the type of the version, e.g. prefect:simple."
        ),
    ] = None
    tag: Annotated[
        list[str], option("--tag, -t TAG", OVERRIDES, "Replace the tags. May be repeated.")
    ] = dataclasses.field(default_factory=list)
    concurrency_limit: Annotated[
        int | None,
        option("--concurrency-limit N", OVERRIDES, "Limit the number of concurrent runs."),
    ] = None
    collision_strategy: Annotated[
        str | None,
        option(
            "--collision-strategy STRATEGY",
            OVERRIDES,
            "What to do with a run over the limit: ENQUEUE or CANCEL_NEW.",
        ),
    ] = None
    pool: Annotated[
        str | None,
        option(
            "--pool, -p NAME",
            OVERRIDES,
            "Set the work pool.",
            autocompletion=completion.work_pools,
        ),
    ] = None
    work_queue: Annotated[
        str | None, option("--work-queue, -q NAME", OVERRIDES, "Set the work queue.")
    ] = None
    job_variable: Annotated[
        list[str],
        option(
            "--job-variable, --jv, -jv, --variable, -v KEY=VALUE",
            OVERRIDES,
            "Set a job variable, or several with a JSON object. The file's other job "
            "variables are kept. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    cron: Annotated[
        list[str],
        option(
            "--cron CRON", OVERRIDES, 'Add a cron schedule, e.g. "0 6 * * 1-5". May be repeated.'
        ),
    ] = dataclasses.field(default_factory=list)
    interval: Annotated[
        list[str],
        option(
            "--interval SECONDS", OVERRIDES, "Add an interval schedule, e.g. 3600. May be repeated."
        ),
    ] = dataclasses.field(default_factory=list)
    rrule: Annotated[
        list[str],
        option(
            "--rrule RRULE",
            OVERRIDES,
            'Add a recurrence rule schedule, e.g. "FREQ=DAILY;BYHOUR=6". May be repeated.',
        ),
    ] = dataclasses.field(default_factory=list)
    anchor_date: Annotated[
        str | None,
        option(
            "--anchor-date TIME",
            OVERRIDES,
            "Start of the first interval of interval schedules, in ISO 8601.",
        ),
    ] = None
    timezone: Annotated[
        str | None,
        option(
            "--timezone ZONE", OVERRIDES, "Set the time zone of the schedules, e.g. Europe/Berlin."
        ),
    ] = None
    trigger: Annotated[
        list[str],
        option(
            "--trigger JSON|FILE",
            OVERRIDES,
            "Replace the triggers: a JSON object, or a file with a list 'triggers'. "
            "May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    param: Annotated[
        list[str],
        option(
            "--param KEY=VALUE",
            OVERRIDES,
            "Set a default parameter. The file's other parameters are kept. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    params: Annotated[
        str | None,
        option(
            "--params JSON",
            OVERRIDES,
            "Set default parameters with a JSON object. The file's others are kept.",
        ),
    ] = None
    enforce_parameter_schema: Annotated[
        bool | None,
        option(
            "--enforce-parameter-schema/--no-enforce-parameter-schema",
            OVERRIDES,
            "Whether the server validates parameters against the flow's schema.",
        ),
    ] = None
    sla: Annotated[
        list[str],
        option(
            "--sla JSON|FILE",
            OVERRIDES,
            "Accepted for compatibility; only Prefect Cloud has SLAs. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    empty: Annotated[
        bool,
        option(
            "--empty-name, --empty-tag, --empty-job-variable, --empty-cron, "
            "--empty-interval, --empty-rrule, --empty-trigger, --empty-param, --empty-sla",
            OVERRIDES,
            "Accepted for compatibility; has no effect, as in Prefect.",
            hidden=True,
        ),
    ] = False
