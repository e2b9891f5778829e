"""The catalogue of diagnostics, its pages and its overview are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deployctl
from deployctl.core.catalogue import CATALOGUE, overview, page

PACKAGE = Path(deployctl.__file__).parent
PAGES = PACKAGE / "core" / "pages"
OVERVIEW = PACKAGE.parent / "docs" / "diagnostics.md"
CODE = re.compile(r"\bDC\d{3}\b")
TITLE = re.compile(r"[a-z.]|JSON|YAML|Prefect|Kubernetes|BuildKit|Dockerfile")


def codes_in_source() -> dict[str, str]:
    """Each code and the first module that uses it, the catalogue apart."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "catalogue.py":
            for code in CODE.findall(path.read_text(encoding="utf-8")):
                found.setdefault(code, str(path.relative_to(PACKAGE)))
    return found


def test_every_code_is_in_the_catalogue() -> None:
    unknown = {code: where for code, where in codes_in_source().items() if code not in CATALOGUE}
    assert unknown == {}


def test_every_entry_of_the_catalogue_is_used_and_has_a_page() -> None:
    assert sorted(CATALOGUE.keys() - codes_in_source().keys()) == []
    assert {path.name for path in PAGES.iterdir()} == {f"{code}.md" for code in CATALOGUE}


def test_titles_have_one_style() -> None:
    """A lower-case noun phrase or sentence without a full stop, each once."""
    titles = [entry.title for entry in CATALOGUE.values()]
    assert len(set(titles)) == len(titles)
    assert [title for title in titles if not TITLE.match(title) or title.endswith(".")] == []


@pytest.mark.parametrize("code", CATALOGUE)
def test_pages_have_one_form(code: str) -> None:
    """What the code means, an example, and what to do, in lines of at most 100 characters."""
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    meaning, example, advice = re.split(r"^## (?:Example|What to do)$", text, flags=re.MULTILINE)
    assert re.findall(r"^#.*", text, flags=re.MULTILINE) == ["## Example", "## What to do"]
    assert re.match(r"[A-Z`0-9]|deployctl ", meaning)
    assert re.match(r"[A-Z`]|- ", advice.strip())
    assert all(not line or line.startswith("    ") for line in example.strip("\n").split("\n"))
    assert all(part.strip() for part in (meaning, example, advice))
    assert max(map(len, (meaning + advice).splitlines())) <= 100


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_page_refers_only_to_known_codes(code: str) -> None:
    assert set(CODE.findall(page(code))) <= CATALOGUE.keys()


def test_the_overview_is_current() -> None:
    """`python -m deployctl.core.catalogue > docs/diagnostics.md` updates it."""
    assert OVERVIEW.read_text(encoding="utf-8") == overview()
