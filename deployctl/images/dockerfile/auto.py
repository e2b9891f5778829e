"""The Dockerfile of `dockerfile: auto`: Prefect's own image, the requirements, and the project.

It is the one that prefect_docker would write, for the versions of Prefect and Python that the
project has. Two things differ: it is never written into the project's folder, so a Dockerfile that
lies there is in nobody's way; and a folder may be called whatever it likes.
"""

from __future__ import annotations

import json
import re

HOME = "/opt/prefect"
REQUIREMENTS = "requirements.txt"

_COMMIT = re.compile(r"\bg?([0-9a-f]{7})[0-9a-f]*\b")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_INSTALL = {True: "uv pip install", False: "python -m pip install"}
"""By whether it is Prefect 3, whose images have uv."""


def project_folder(name: str) -> str:
    """Where the project lies in the image, by the name of its folder here."""
    return f"{HOME}/{name}"


def prefect_image(prefect: str, python: str) -> str:
    """Prefect's image for a version like `3.8.8` and a Python like `3.11`.

    A version between releases (`3.8.8+5.gabc1234`) has its image by commit.
    """
    public, _, local = prefect.partition("+")
    commit = _COMMIT.search(local)
    version = f"sha-{commit[1]}" if commit else public
    repository = "prefecthq/prefect-dev" if commit else "prefecthq/prefect"
    return f"{repository}:{_NOT_IN_TAGS.sub('-', f'{version}-python{python}')}"


def dockerfile(folder_name: str, *, prefect: str, python: str, requirements: bool) -> str:
    """The text of the Dockerfile; `requirements`: whether the folder has a requirements.txt."""
    home = project_folder(folder_name)
    lines = [f"FROM {prefect_image(prefect, python)}"]
    if requirements:
        listed = f"{home}/{REQUIREMENTS}"
        command = [*_INSTALL[not prefect.startswith("2.")].split(), "-r"]
        lines.append(f"COPY {_paths(REQUIREMENTS, listed)}")
        lines.append(
            f"RUN {' '.join(command)} {listed}"
            if _PLAIN.fullmatch(listed)
            else f"RUN {json.dumps([*command, listed])}"
        )
    lines += [f"COPY {_paths('.', f'{home}/')}", f"WORKDIR {_escaped(f'{home}/')}"]
    return "\n".join(lines) + "\n"


def _paths(*paths: str) -> str:
    """The arguments of COPY."""
    if all(_PLAIN.fullmatch(path) for path in paths):
        return " ".join(paths)
    return json.dumps([_escaped(path) for path in paths], ensure_ascii=False)


def _escaped(path: str) -> str:
    """A path in which no character is a quote, an escape or the beginning of a variable."""
    return re.sub(r"""([\\$"'])""", r"\\\1", path)
