"""Options of the commands that load prefect.yaml: selection, deploy, build and overrides."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from deployctl.cli.options import option
from deployctl.images.model import BuilderChoice

SELECTION = "Selection"
DEPLOY = "Deploy"
BUILD = "Build"
OVERRIDES = "Overrides (default: what prefect.yaml says)"


@dataclasses.dataclass(frozen=True)
class SelectionOptions:
    """Which deployments of which files a command works on."""

    entrypoint: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE:FLOW",
            help="Select the deployments of this flow, e.g. flows.py:etl.",
            show_default=False,
        ),
    ] = None
    name: Annotated[
        list[str],
        option(
            "--name",
            "-n",
            group=SELECTION,
            metavar="NAME",
            help="Select a deployment by NAME, FLOW/NAME or a pattern with *. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    everything: Annotated[
        bool, option("--all/--no-all", group=SELECTION, help="Select all deployments.")
    ] = False
    prefect_file: Annotated[
        list[Path],
        option(
            "--prefect-file",
            group=SELECTION,
            metavar="FILE",
            default="prefect.yaml",
            help="Read deployments from FILE. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class DeployOptions:
    """How to deploy."""

    project: Annotated[
        str | None,
        option(
            "--project",
            group=DEPLOY,
            metavar="NAME",
            default="the file's 'name'",
            help="Name under which the last applied state is recorded.",
        ),
    ] = None
    create_pools: Annotated[
        bool,
        option(
            "--create-pools",
            group=DEPLOY,
            help="Create missing work pools, with type kubernetes.",
        ),
    ] = False
    prompt: Annotated[
        bool,
        option(
            "--prompt/--no-prompt",
            group=DEPLOY,
            hidden=True,
            help="Accepted for compatibility; deployctl never prompts.",
        ),
    ] = False


@dataclasses.dataclass(frozen=True)
class BuilderOptions:
    """How images are built."""

    builder: Annotated[
        BuilderChoice,
        option(
            "--builder",
            group=BUILD,
            envvar="DEPLOYCTL_BUILDER",
            show_envvar=True,
            help="Build with Docker, or assemble images without it. auto uses Docker if an "
            "engine responds.",
        ),
    ] = BuilderChoice.AUTO


@dataclasses.dataclass(frozen=True)
class ImageOptions(BuilderOptions):
    """Which images the deployments get."""

    skip_build: Annotated[
        bool, option("--skip-build", group=BUILD, help="Skip all build and push steps.")
    ] = False
    images: Annotated[
        Path | None,
        option(
            "--images",
            group=BUILD,
            metavar="FILE",
            default="run the steps",
            help="Use the outputs in FILE, written by `deployctl build --output json`.",
        ),
    ] = None
    image: Annotated[
        str | None,
        option(
            "--image",
            group=BUILD,
            metavar="REF",
            default="build it",
            help="Use this image for all selected deployments instead of building one.",
        ),
    ] = None
    pin: Annotated[
        bool,
        option(
            "--pin/--no-pin",
            group=BUILD,
            help="Register pushed images by digest (name:tag@sha256:…).",
        ),
    ] = True


@dataclasses.dataclass(frozen=True)
class OverrideOptions:
    """Options of `prefect deploy` that override the file for all selected deployments."""

    description: Annotated[
        str | None,
        option(
            "--description",
            "-d",
            group=OVERRIDES,
            metavar="TEXT",
            help="Set the description.",
        ),
    ] = None
    version: Annotated[
        str | None,
        option(
            "--version",
            group=OVERRIDES,
            metavar="VERSION",
            help="Set the version.",
        ),
    ] = None
    version_type: Annotated[
        str | None,
        option(
            "--version-type",
            group=OVERRIDES,
            metavar="TYPE",
            help="Set the type of the version, e.g. prefect:simple.",
        ),
    ] = None
    tag: Annotated[
        list[str],
        option(
            "--tag",
            "-t",
            group=OVERRIDES,
            metavar="TAG",
            help="Replace the tags. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    concurrency_limit: Annotated[
        int | None,
        option(
            "--concurrency-limit",
            group=OVERRIDES,
            metavar="N",
            help="Limit the number of concurrent runs.",
        ),
    ] = None
    collision_strategy: Annotated[
        str | None,
        option(
            "--collision-strategy",
            group=OVERRIDES,
            metavar="STRATEGY",
            help="What to do with a run over the limit: ENQUEUE or CANCEL_NEW.",
        ),
    ] = None
    pool: Annotated[
        str | None,
        option(
            "--pool",
            "-p",
            group=OVERRIDES,
            metavar="NAME",
            help="Set the work pool.",
        ),
    ] = None
    work_queue: Annotated[
        str | None,
        option(
            "--work-queue",
            "-q",
            group=OVERRIDES,
            metavar="NAME",
            help="Set the work queue.",
        ),
    ] = None
    job_variable: Annotated[
        list[str],
        option(
            "--job-variable",
            "--jv",
            "-jv",
            "--variable",
            "-v",
            group=OVERRIDES,
            metavar="KEY=VALUE",
            help="Set a job variable, or several with a JSON object. The file's other job "
            "variables are kept. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    cron: Annotated[
        list[str],
        option(
            "--cron",
            group=OVERRIDES,
            metavar="CRON",
            help='Add a cron schedule, e.g. "0 6 * * 1-5". May be repeated.',
        ),
    ] = dataclasses.field(default_factory=list)
    interval: Annotated[
        list[str],
        option(
            "--interval",
            group=OVERRIDES,
            metavar="SECONDS",
            help="Add an interval schedule, e.g. 3600. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    rrule: Annotated[
        list[str],
        option(
            "--rrule",
            group=OVERRIDES,
            metavar="RRULE",
            help='Add a recurrence rule schedule, e.g. "FREQ=DAILY;BYHOUR=6". May be repeated.',
        ),
    ] = dataclasses.field(default_factory=list)
    anchor_date: Annotated[
        str | None,
        option(
            "--anchor-date",
            group=OVERRIDES,
            metavar="TIME",
            help="Start of the first interval of interval schedules, in ISO 8601.",
        ),
    ] = None
    timezone: Annotated[
        str | None,
        option(
            "--timezone",
            group=OVERRIDES,
            metavar="ZONE",
            help="Set the time zone of the schedules, e.g. Europe/Berlin.",
        ),
    ] = None
    trigger: Annotated[
        list[str],
        option(
            "--trigger",
            group=OVERRIDES,
            metavar="JSON|FILE",
            help="Replace the triggers: a JSON object, or a file with a list 'triggers'. "
            "May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    param: Annotated[
        list[str],
        option(
            "--param",
            group=OVERRIDES,
            metavar="KEY=VALUE",
            help="Set a default parameter. The file's other parameters are kept. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    params: Annotated[
        str | None,
        option(
            "--params",
            group=OVERRIDES,
            metavar="JSON",
            help="Set default parameters with a JSON object. The file's others are kept.",
        ),
    ] = None
    enforce_parameter_schema: Annotated[
        bool | None,
        option(
            "--enforce-parameter-schema/--no-enforce-parameter-schema",
            group=OVERRIDES,
            help="Whether the server validates parameters against the flow's schema.",
        ),
    ] = None
    sla: Annotated[
        list[str],
        option(
            "--sla",
            group=OVERRIDES,
            metavar="JSON|FILE",
            help="Accepted for compatibility; only Prefect Cloud has SLAs. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    empty: Annotated[
        bool,
        option(
            "--empty-name",
            "--empty-tag",
            "--empty-job-variable",
            "--empty-cron",
            "--empty-interval",
            "--empty-rrule",
            "--empty-trigger",
            "--empty-param",
            "--empty-sla",
            group=OVERRIDES,
            hidden=True,
            help="Accepted for compatibility; has no effect, as in Prefect.",
        ),
    ] = False
