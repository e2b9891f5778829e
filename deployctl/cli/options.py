"""The options that commands share, each group as one dataclass.

A command takes a group as one parameter; `flattened` spells it out for the command-line library.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from deployctl.cli.render import Format
from deployctl.images.model import BuilderChoice


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its parameters that are dataclasses replaced by their fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            parameters.append(
                parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            )
        else:
            parameters += _fields(group)

    def spread(**given: Any) -> None:
        for name, group in groups.items():
            names = [field.name for field in dataclasses.fields(group)]
            given[name] = group(**{each: given.pop(each) for each in names})
        command(**given)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__doc__, spread.__name__ = command.__doc__, command.__name__
    return spread


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    required = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if required else field.default


def texts(*names: str, help: str, **more: Any) -> Any:  # noqa: A002
    """An option whose default speaks for itself."""
    return typer.Option(*names, help=help, show_default=False, **more)


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """How a command tells what it found."""

    output: Annotated[Format, typer.Option("--output", help="For whom the output is.")] = (
        Format.HUMAN
    )
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in deployctl an error arose.")
    ] = False


_PROJECT = "Which deployments"


@dataclasses.dataclass(frozen=True)
class SelectionOptions:
    """Which deployments of which files are meant."""

    entrypoint: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE:FLOW]", help="The deployments of this flow.", show_default=False
        ),
    ] = None
    name: Annotated[
        list[str],
        texts(
            "--name",
            "-n",
            help="A deployment: NAME, FLOW/NAME, or a pattern with *. May be repeated.",
            rich_help_panel=_PROJECT,
        ),
    ] = dataclasses.field(default_factory=list)
    everything: Annotated[
        bool, typer.Option("--all/--no-all", help="All deployments.", rich_help_panel=_PROJECT)
    ] = False
    prefect_file: Annotated[
        list[Path],
        texts(
            "--prefect-file",
            help="The file to read; may be repeated. Default: prefect.yaml",
            rich_help_panel=_PROJECT,
        ),
    ] = dataclasses.field(default_factory=list)


_SERVER = "The server"


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Which server."""

    api_url: Annotated[
        str | None, texts("--api-url", help="The Prefect API.", rich_help_panel=_SERVER)
    ] = None
    profile: Annotated[
        str | None,
        texts("--profile", help="The profile of Prefect to use.", rich_help_panel=_SERVER),
    ] = None


@dataclasses.dataclass(frozen=True)
class ConnectionOptions(ServerOptions):
    """Which server, and how to talk to it."""

    wait_for_api: Annotated[
        float | None,
        texts(
            "--wait-for-api",
            metavar="SECONDS",
            min=0,
            help="Wait for a server that is starting.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", min=1, help="Requests at once, at most.", rich_help_panel=_SERVER
        ),
    ] = 16


@dataclasses.dataclass(frozen=True)
class DeployOptions:
    """How to deploy."""

    project: Annotated[
        str | None,
        texts("--project", help="The name to keep the record under. Default: the file's name."),
    ] = None
    create_pools: Annotated[
        bool,
        typer.Option("--create-pools", help="Create missing work pools, of type kubernetes."),
    ] = False
    prompt: Annotated[
        bool, typer.Option("--prompt/--no-prompt", hidden=True, help="Accepted; never prompts.")
    ] = False


_IMAGES = "Images"


@dataclasses.dataclass(frozen=True)
class BuilderOptions:
    """How images are made."""

    builder: Annotated[
        BuilderChoice,
        typer.Option(
            "--builder",
            envvar="DEPLOYCTL_BUILDER",
            help="Docker, or without: assemble. auto: Docker if an engine answers.",
            rich_help_panel=_IMAGES,
        ),
    ] = BuilderChoice.AUTO


@dataclasses.dataclass(frozen=True)
class ImageOptions(BuilderOptions):
    """Which images deployments get."""

    skip_build: Annotated[
        bool,
        typer.Option(
            "--skip-build",
            help="Leave all build and push steps out.",
            rich_help_panel=_IMAGES,
        ),
    ] = False
    images: Annotated[
        Path | None,
        texts(
            "--images",
            metavar="FILE",
            help="Run no steps: FILE is what `build --output json` printed.",
            rich_help_panel=_IMAGES,
        ),
    ] = None
    image: Annotated[
        str | None,
        texts(
            "--image",
            metavar="REF",
            help="Build no image: this one is for all that are chosen.",
            rich_help_panel=_IMAGES,
        ),
    ] = None
    pin: Annotated[
        bool,
        typer.Option(
            "--pin/--no-pin",
            help="Name pushed images by digest.",
            rich_help_panel=_IMAGES,
        ),
    ] = True


_OVER = "Instead of what the file says"


@dataclasses.dataclass(frozen=True)
class OverrideOptions:
    """The options of `prefect deploy` that say what a file could say, for all that are chosen."""

    description: Annotated[
        str | None, texts("--description", "-d", help="The description.", rich_help_panel=_OVER)
    ] = None
    version: Annotated[
        str | None, texts("--version", help="The version.", rich_help_panel=_OVER)
    ] = None
    version_type: Annotated[
        str | None, texts("--version-type", help="Its type.", rich_help_panel=_OVER)
    ] = None
    tag: Annotated[
        list[str], texts("--tag", "-t", help="A tag; may be repeated.", rich_help_panel=_OVER)
    ] = dataclasses.field(default_factory=list)
    concurrency_limit: Annotated[
        int | None, texts("--concurrency-limit", help="Runs at once.", rich_help_panel=_OVER)
    ] = None
    collision_strategy: Annotated[
        str | None,
        texts("--collision-strategy", help="ENQUEUE or CANCEL_NEW.", rich_help_panel=_OVER),
    ] = None
    pool: Annotated[
        str | None, texts("--pool", "-p", help="The work pool.", rich_help_panel=_OVER)
    ] = None
    work_queue: Annotated[
        str | None, texts("--work-queue", "-q", help="The work queue.", rich_help_panel=_OVER)
    ] = None
    job_variable: Annotated[
        list[str],
        texts(
            "--job-variable",
            "--jv",
            "-jv",
            "--variable",
            "-v",
            help="KEY=VALUE or a JSON object, added to the file's; may be repeated.",
            rich_help_panel=_OVER,
        ),
    ] = dataclasses.field(default_factory=list)
    cron: Annotated[
        list[str], texts("--cron", help="One more schedule.", rich_help_panel=_OVER)
    ] = dataclasses.field(default_factory=list)
    interval: Annotated[
        list[str], texts("--interval", help="One more schedule.", rich_help_panel=_OVER)
    ] = dataclasses.field(default_factory=list)
    rrule: Annotated[
        list[str], texts("--rrule", help="One more schedule.", rich_help_panel=_OVER)
    ] = dataclasses.field(default_factory=list)
    anchor_date: Annotated[
        str | None,
        texts("--anchor-date", help="From when intervals count.", rich_help_panel=_OVER),
    ] = None
    timezone: Annotated[
        str | None,
        texts("--timezone", help="The time zone of the schedules.", rich_help_panel=_OVER),
    ] = None
    trigger: Annotated[
        list[str],
        texts("--trigger", help="A JSON object or a file of triggers.", rich_help_panel=_OVER),
    ] = dataclasses.field(default_factory=list)
    param: Annotated[
        list[str],
        texts("--param", help="KEY=VALUE, added to the file's.", rich_help_panel=_OVER),
    ] = dataclasses.field(default_factory=list)
    params: Annotated[
        str | None,
        texts("--params", help="A JSON object, added to the file's.", rich_help_panel=_OVER),
    ] = None
    enforce_parameter_schema: Annotated[
        bool | None,
        texts(
            "--enforce-parameter-schema/--no-enforce-parameter-schema",
            help="Whether the server checks parameters.",
            rich_help_panel=_OVER,
        ),
    ] = None
    sla: Annotated[
        list[str], texts("--sla", help="Accepted; for Prefect Cloud.", rich_help_panel=_OVER)
    ] = dataclasses.field(default_factory=list)
    empty: Annotated[
        bool,
        typer.Option(
            "--empty-name",
            "--empty-tag",
            "--empty-job-variable",
            "--empty-cron",
            "--empty-interval",
            "--empty-rrule",
            "--empty-trigger",
            "--empty-param",
            "--empty-sla",
            hidden=True,
            help="Accepted; has no effect, as in Prefect.",
        ),
    ] = False
