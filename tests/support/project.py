"""Small projects on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

FLOW = """
from prefect import flow


@flow
def hello(name: str = "world", times: int = 1) -> None:
    print(name * times)
"""


def write_project(folder: Path, prefect_yaml: str, files: Mapping[str, str] | None = None) -> Path:
    """Write `prefect.yaml` and `flows.py` (a flow `hello(name, times)`) into `folder`.

    `files` adds or replaces files by their relative path. Texts are dedented. Returns `folder`.
    """
    for name, text in {"prefect.yaml": prefect_yaml, "flows.py": FLOW, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return folder
