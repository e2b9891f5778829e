"""Options of output and server, which most commands have: one dataclass per group.

A command function takes a group as one parameter. The `command` decorator replaces it with one
parameter per field for Typer, and puts the parsed values back together.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Annotated, Any

import typer

SERVER = "Server"
OUTPUT = "Output"


def option(
    names: str,
    group: str,
    help: str,  # noqa: A002
    *,
    default: str | None = None,
    **more: Any,
) -> Any:
    """A Typer option, as the help page shows it: `option("--name, -n NAME", SELECTION, "…")`.

    `group` is the title of its group on the page. `default` describes a default that is computed at
    run time; a default value of the parameter is shown without it.
    """
    *others, last = names.split(", ")
    name, _, metavar = last.partition(" ")
    return typer.Option(
        *others,
        name,
        metavar=metavar or None,
        help=help,
        rich_help_panel=group,
        show_default=True if default is None else default,
        **more,
    )


class OutputFormat(StrEnum):
    """The values of `--output`."""

    HUMAN = "human"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"
    JUNIT = "junit"
    GITLAB = "gitlab"
    HTML = "html"


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """How a command reports its result."""

    output: Annotated[
        OutputFormat,
        option(
            "--output",
            OUTPUT,
            "Output format: text, one JSON object, GitHub annotations and a job summary, "
            "diagnostics as SARIF, JUnit XML or GitLab code quality JSON, or one HTML page.",
        ),
    ] = OutputFormat.HUMAN
    strict: Annotated[bool, option("--strict", OUTPUT, "Treat warnings as errors.")] = False
    traceback: Annotated[
        bool, option("--traceback", OUTPUT, "Show the Python traceback of an error.")
    ] = False


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Which server to connect to."""

    api_url: Annotated[
        str | None,
        option(
            "--api-url URL",
            SERVER,
            "URL of the Prefect API, e.g. http://127.0.0.1:4200/api.",
            default="PREFECT_API_URL, else the profile's",
        ),
    ] = None
    profile: Annotated[
        str | None,
        option(
            "--profile NAME",
            SERVER,
            "Read settings from this Prefect profile.",
            default="the active profile",
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class ConnectionOptions(ServerOptions):
    """Which server to connect to, and how."""

    wait_for_api: Annotated[
        float | None,
        option(
            "--wait-for-api SECONDS",
            SERVER,
            "Wait up to SECONDS for a server that is starting.",
            min=0,
            default="don't wait",
        ),
    ] = None
    concurrency: Annotated[
        int, option("--concurrency N", SERVER, "Maximum number of concurrent requests.", min=1)
    ] = 16
