"""Every diagnostic can be looked up: `deployctl explain DC101` prints a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deployctl

PACKAGE = Path(deployctl.__file__).parent
PAGES = PACKAGE / "core" / "pages"
CODE = re.compile(r"\bDC\d{3}\b")


def codes_in_source() -> dict[str, str]:
    """Each code and the first module that uses it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for code in CODE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(code, str(path.relative_to(PACKAGE)))
    return found


def test_every_code_has_a_page() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")}
    assert {code: where for code, where in codes_in_source().items() if code not in pages} == {}


def test_every_page_is_of_a_code_in_use() -> None:
    assert sorted({path.stem for path in PAGES.glob("*")} - codes_in_source().keys()) == []


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_has_a_title_and_says_something(page: Path) -> None:
    title, _, text = page.read_text(encoding="utf-8").partition("\n")
    assert re.fullmatch(r"# \S.*", title)
    assert len(text.split()) >= 10


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_refers_only_to_pages_that_exist(page: Path) -> None:
    named = set(CODE.findall(page.read_text(encoding="utf-8")))
    assert sorted(code for code in named if not (PAGES / f"{code}.md").exists()) == []
