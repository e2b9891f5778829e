"""`deployctl init`: writes the first prefect.yaml of a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import option

_FILE = "File"


class Recipe(StrEnum):
    """The values of `--recipe`."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"
    PROCESS = "process"


@command(
    "init",
    ("Write a prefect.yaml for the flows of this folder", "deployctl init"),
    ("Write one whose runs are Kubernetes Jobs", "deployctl init --recipe kubernetes"),
)
def init(
    ctx: CommandContext,
    recipe: Annotated[
        Recipe | None,
        option(
            "--recipe",
            _FILE,
            "Where the flows run.",
            default="kubernetes if there is a Dockerfile, else process",
        ),
    ] = None,
) -> None:
    """Write a commented prefect.yaml for the flows, the Dockerfile and the git remote found here.

    Code is read, not run. An existing file is never replaced. A JSON Schema is written beside the
    file, so that editors complete and check its keys.
    """
    import json

    from deployctl.app.exporting.starter import inspect_folder
    from deployctl.cli.files import check_absent, write_file
    from deployctl.cli.project_files import DEFAULT_FILE
    from deployctl.project.schema import json_schema
    from deployctl.project.starter import SCHEMA_FILE, starter_text

    check_absent(DEFAULT_FILE, "Edit it: `deployctl validate` checks it.")
    found = inspect_folder(Path.cwd())
    chosen = recipe or (Recipe.KUBERNETES if found.has_dockerfile else Recipe.PROCESS)
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    write_file(DEFAULT_FILE, starter_text(found, chosen.value))
    written = [str(DEFAULT_FILE)]
    if not Path(SCHEMA_FILE).exists():
        write_file(Path(SCHEMA_FILE), schema)
        written.append(SCHEMA_FILE)
    ctx.data |= {"files": written, "recipe": chosen.value, "flows": list(found.flows)}
    count = len(found.flows)
    ctx.print([f"{DEFAULT_FILE}: {count} flow{'s' * (count != 1)}, recipe {chosen.value}"])
