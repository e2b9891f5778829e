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
    *names: str,
    group: str,
    help: str,  # noqa: A002
    default: str | None = None,
    **more: Any,
) -> Any:
    """A Typer option in the titled group `group` of the help page.

    `default` describes a default that is computed at run time, for the help page; a default value
    of the parameter itself is shown without it.
    """
    shown = True if default is None else default
    return typer.Option(*names, help=help, rich_help_panel=group, show_default=shown, **more)


class OutputFormat(StrEnum):
    """The values of `--output`."""

    HUMAN = "human"
    JSON = "json"
    GITHUB = "github"


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """How a command reports its result."""

    output: Annotated[
        OutputFormat,
        option(
            "--output",
            group=OUTPUT,
            help="Output format: text, one JSON object, or GitHub annotations and a job summary.",
        ),
    ] = OutputFormat.HUMAN
    strict: Annotated[bool, option("--strict", group=OUTPUT, help="Treat warnings as errors.")] = (
        False
    )
    traceback: Annotated[
        bool, option("--traceback", group=OUTPUT, help="Show the Python traceback of an error.")
    ] = False


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Which server to connect to."""

    api_url: Annotated[
        str | None,
        option(
            "--api-url",
            group=SERVER,
            metavar="URL",
            default="PREFECT_API_URL, else the profile's",
            help="URL of the Prefect API, e.g. http://127.0.0.1:4200/api.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        option(
            "--profile",
            group=SERVER,
            metavar="NAME",
            default="the active profile",
            help="Read settings from this Prefect profile.",
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class ConnectionOptions(ServerOptions):
    """Which server to connect to, and how."""

    wait_for_api: Annotated[
        float | None,
        option(
            "--wait-for-api",
            group=SERVER,
            metavar="SECONDS",
            min=0,
            default="don't wait",
            help="Wait up to SECONDS for a server that is starting.",
        ),
    ] = None
    concurrency: Annotated[
        int,
        option(
            "--concurrency",
            group=SERVER,
            metavar="N",
            min=1,
            help="Maximum number of concurrent requests.",
        ),
    ] = 16
