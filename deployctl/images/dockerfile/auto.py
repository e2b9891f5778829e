"""The generated Dockerfile of `dockerfile: auto`: Prefect's image, requirements, and the project.

It is the Dockerfile that prefect_docker generates, for the project's versions of Prefect and
Python. Two things differ: it is never written into the project, so it does not collide with an
existing Dockerfile, and the project's directory may have any name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

HOME = "/opt/prefect"
REQUIREMENTS = "requirements.txt"

_COMMIT = re.compile(r"\bg?([0-9a-f]{7})[0-9a-f]*\b")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_INSTALL = {True: "uv pip install", False: "python -m pip install"}
"""By whether it is Prefect 3, whose images contain uv."""


def image_directories(context: Path, project: Path) -> tuple[str, str]:
    """Where the build context is in the image, and where the project's folder is.

    Entrypoints are relative to the folder in which deployctl runs, which need not be the context.
    The image has them in the same place relative to each other, so that runs find the code:
    `path: app` in the project `etl` becomes `/opt/prefect/etl/app`.
    """
    context, project = context.resolve(), project.resolve()
    if context.is_relative_to(project):
        home = PurePosixPath(HOME, project.name)
        return str(home / context.relative_to(project)), str(home)
    home = PurePosixPath(HOME, context.name)
    inside = project.is_relative_to(context)
    return str(home), str(home / project.relative_to(context) if inside else home)


def prefect_image(prefect: str, python: str) -> str:
    """Prefect's image for a version like `3.8.8` and a Python like `3.11`.

    A version between releases (`3.8.8+5.gabc1234`) has an image that is tagged with its commit.
    """
    public, _, local = prefect.partition("+")
    commit = _COMMIT.search(local)
    version = f"sha-{commit[1]}" if commit else public
    repository = "prefecthq/prefect-dev" if commit else "prefecthq/prefect"
    return f"{repository}:{_NOT_IN_TAGS.sub('-', f'{version}-python{python}')}"


def dockerfile(home: str, *, prefect: str, python: str, requirements: bool) -> str:
    """The text of the Dockerfile that copies the context to `home`.

    `requirements`: whether the context has a requirements.txt.
    """
    lines = [f"FROM {prefect_image(prefect, python)}"]
    if requirements:
        path = f"{home}/{REQUIREMENTS}"
        command = [*_INSTALL[not prefect.startswith("2.")].split(), "-r"]
        lines.append(f"COPY {_copy_arguments(REQUIREMENTS, path)}")
        lines.append(
            f"RUN {' '.join(command)} {path}"
            if _PLAIN.fullmatch(path)
            else f"RUN {json.dumps([*command, path])}"
        )
    lines += [f"COPY {_copy_arguments('.', f'{home}/')}", f"WORKDIR {_escape(f'{home}/')}"]
    return "\n".join(lines) + "\n"


def _copy_arguments(*paths: str) -> str:
    if all(_PLAIN.fullmatch(path) for path in paths):
        return " ".join(paths)
    return json.dumps([_escape(path) for path in paths], ensure_ascii=False)


def _escape(path: str) -> str:
    """Escapes quotes, backslashes and dollar signs."""
    return re.sub(r"""([\\$"'])""", r"\\\1", path)
