"""The forms of an entrypoint and where its file is searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.flows.entrypoint import Entrypoint, locate, parse_entrypoint


@pytest.mark.parametrize(
    ("text", "location", "name", "is_script"),
    [
        ("flows.py:run", "flows.py", "run", True),
        ("./flows.py:run", "./flows.py", "run", True),
        ("/home/x/flows.py:run", "/home/x/flows.py", "run", True),
        ("my flows/etl.py:Etl.run", "my flows/etl.py", "Etl.run", True),
        ("pkg.mod:run", "pkg.mod", "run", False),
        ("pkg.mod:Etl.run", "pkg.mod", "Etl.run", False),
        ("pkg.mod.run", "pkg.mod", "run", False),
        ("größe.läuft", "größe", "läuft", False),
    ],
)
def test_parses_entrypoint(text: str, location: str, name: str, is_script: bool) -> None:
    assert parse_entrypoint(text) == Entrypoint(text, location, name, is_script)


@pytest.mark.parametrize(
    "text", ["", "run", "flows.py", "a/flows.py", "flows/etl:run", "flows.py:", ":run", "a.py:1x"]
)
def test_rejects_invalid_entrypoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"function|module"):
        parse_entrypoint(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.py:f", "one/a.py"),
        ("./b.py:f", "two/b.py"),
        ("b:f", "two/b.py"),
        ("pkg.c.f", "two/pkg/c.py"),
        ("pkg:f", "two/pkg/__init__.py"),
        ("gone.py:f", None),
        ("pkg.py:f", None),
    ],
)
def test_takes_file_from_first_folder(tmp_path: Path, text: str, found: str | None) -> None:
    for name in ("one/a.py", "two/a.py", "two/b.py", "two/pkg/__init__.py", "two/pkg/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    located = locate(parse_entrypoint(text), [tmp_path / "one", tmp_path / "two"])
    assert (located.file if located else None) == (tmp_path / found if found else None)
