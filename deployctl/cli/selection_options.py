"""Options that select project files, environments and deployments."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any

import typer

from deployctl.cli import completion
from deployctl.cli.options import option
from deployctl.core.errors import UsageError
from deployctl.project.selection import Selection

SELECTION = "Selection"


def environment_option(group: str) -> Any:
    """The option of the commands that read project files."""
    return option(
        "--env NAME",
        group,
        "Deployments of this environment: with what the file says below 'environments', or in "
        "prefect.NAME.yaml beside it.",
        default="none",
        envvar="DEPLOYCTL_ENV",
        show_envvar=True,
        autocompletion=completion.environments,
    )


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
            "--name, -n NAME",
            SELECTION,
            "Select a deployment by NAME, FLOW/NAME or a pattern with *. May be repeated.",
            autocompletion=completion.declared_deployments,
        ),
    ] = dataclasses.field(default_factory=list)
    everything: Annotated[bool, option("--all/--no-all", SELECTION, "Select all deployments.")] = (
        False
    )
    prefect_file: Annotated[
        list[Path],
        option(
            "--prefect-file FILE",
            SELECTION,
            "Read deployments from FILE, or from all files that match a pattern with *, ? or "
            "**. May be repeated.",
            default="prefect.yaml",
        ),
    ] = dataclasses.field(default_factory=list)
    with_tag: Annotated[
        list[str],
        option(
            "--with-tag TAG",
            SELECTION,
            "Select only deployments that have this tag in the file, or one that matches a "
            "pattern with *. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    in_pool: Annotated[
        list[str],
        option(
            "--in-pool POOL",
            SELECTION,
            "Select only deployments of this work pool in the file, or of those that match a "
            "pattern with *. May be repeated.",
            autocompletion=completion.work_pools,
        ),
    ] = dataclasses.field(default_factory=list)
    exclude: Annotated[
        list[str],
        option(
            "--exclude NAME",
            SELECTION,
            "Leave deployments out, named as for --name. May be repeated.",
            autocompletion=completion.declared_deployments,
        ),
    ] = dataclasses.field(default_factory=list)
    changed_since: Annotated[
        str | None,
        option(
            "--changed-since REV",
            SELECTION,
            "Select only deployments of which the entry, the code or a build input is not as at "
            "this revision of git.",
            default="all",
        ),
    ] = None
    env: Annotated[str | None, environment_option(SELECTION)] = None
    assignments: Annotated[
        list[str],
        option(
            "--set PATH=YAML",
            SELECTION,
            "Set a value of the file, e.g. deployments.daily.tags='[a]'. May be repeated.",
        ),
    ] = dataclasses.field(default_factory=list)
    env_file: Annotated[
        list[Path],
        option(
            "--env-file FILE",
            SELECTION,
            "Set the variables in FILE (NAME=value) that are not set already. May be repeated; "
            "the last one counts.",
        ),
    ] = dataclasses.field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """The files, patterns expanded. Raises UsageError for a pattern that matches none."""
        return expand_files(self.prefect_file)

    @property
    def is_partial(self) -> bool:
        """Whether the options may leave deployments out."""
        return self.selection.is_partial

    @property
    def selection(self) -> Selection:
        """The options for `project.selection`. Raises UsageError."""
        if self.changed_since == "":
            raise UsageError("--changed-since is empty", help="Name a revision, or leave it out.")
        return Selection(
            self.everything,
            tuple(self.name),
            _entrypoint(self.entrypoint or ""),
            tuple(self.with_tag),
            tuple(self.in_pool),
            tuple(self.exclude),
            self.changed_since or "",
        )

    @property
    def selection_or_all(self) -> Selection:
        """The same; all deployments if no option selects any."""
        return self.selection if self.is_partial else Selection(everything=True)


def _entrypoint(entrypoint: str) -> str:
    """FILE:FLOW, or "". Raises UsageError for the name of a deployment, before any file is read."""
    if entrypoint and ":" not in entrypoint and "." not in entrypoint:
        raise UsageError(
            f"'{entrypoint}' is not FILE:FLOW",
            help=f"To select a deployment by its name, use `-n {shlex.quote(entrypoint)}`.",
        )
    return entrypoint


def expand_files(files: list[Path]) -> list[Path]:
    """The files with those that patterns match, each once. Raises UsageError if one matches none.

    A file with such characters in its name is itself. Of the matches of a pattern, the files of
    environments are left out: they are read with the file that they stand beside.
    """
    found: dict[Path, None] = {}
    for path in files:
        if not has_magic(str(path)) or path.exists():
            found[path] = None
            continue
        names = glob(str(path), recursive=True)  # noqa: PTH207 - it leaves hidden folders out
        matches = sorted(each for each in map(Path, names) if each.is_file())
        if not matches:
            raise UsageError(
                f"no file matches '{path}'",
                help="Quote the pattern, and mind that it starts at the working directory.",
            )
        found |= {each: None for each in matches if not _is_beside_another(each, matches)}
    return list(found)


def _is_beside_another(file: Path, files: Sequence[Path]) -> bool:
    """Whether a file is that of an environment: `a.prod.yaml` beside `a.yaml`."""
    parts = file.stem.split(".")
    stems = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(file.with_name(f"{stem}{file.suffix}") in files for stem in stems if stem)
