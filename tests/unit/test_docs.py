"""The documentation and the texts of the source: links resolve, and one style holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "tests" / "README.md"])
SOURCES = sorted((ROOT / "deployctl").rglob("*.py"))
RETIRED = re.compile(
    r"\b(anew|chronicles?|deaf|everybody|fates?|lookouts?|nobody|patiently|pulses?|shelf|shelves"
    r"|somebody|strays?|vitals|whoever)\b",
    re.IGNORECASE,
)
"""Words with which this project once described itself, and which only it understood."""
HELP = re.compile(r"[A-Z0-9`'\"{].*[.`?}]", re.DOTALL)


def guarantees(text: str) -> set[int]:
    """The numbers of the guarantees that a text cites: `Guarantees 4 and 5`, `Guarantee 7`."""
    cited = re.findall(r"\bGuarantees? (\d+(?:(?:, | and |, and )\d+)*)", text)
    return {int(number) for numbers in cited for number in re.findall(r"\d+", numbers)}


def texts_of_help(source: str) -> Iterator[tuple[int, str]]:
    """Every literal text that is passed as `help`, with its line; values are shown as `{}`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    for call in calls:
        match [each.value for each in call.keywords if each.arg == "help"]:
            case [ast.Constant(str(text))] if text:
                yield call.lineno, text
            case [ast.JoinedStr(parts)]:
                texts = (part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
                yield call.lineno, "".join(map(str, texts))


def test_every_guarantee_is_cited_by_a_test() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    stated = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    tests = (ROOT / "tests").rglob("test_*.py")
    cited = set().union(*(guarantees(path.read_text(encoding="utf-8")) for path in tests))
    assert stated == set(range(1, 29))
    assert cited == stated


STATES = {
    "SCHEDULED": "Scheduled Late AwaitingConcurrencySlot AwaitingRetry Resuming",
    "PENDING": "Pending Submitting InfrastructurePending",
    "RUNNING": "Running Retrying",
    "PAUSED": "Paused Suspended",
    "CANCELLING": "Cancelling",
    "COMPLETED": "Completed Cached",
    "FAILED": "Failed TimedOut",
    "CRASHED": "Crashed",
    "CANCELLED": "Cancelled",
}
"""Type → names of all states that Prefect 2.20 and 3.x give a flow run."""


def test_every_state_of_a_run_has_a_row_with_a_test() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    table = page.partition("\n## Who moves a run next\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    listed: dict[str, set[str]] = {}
    for state, *_, tests in rows[1:]:
        for kind, names in re.findall(r"([A-Z]+): ((?:[A-Z]\w+(?:, (?=[A-Z]))?)+)", state):
            listed.setdefault(kind, set()).update(names.split(", "))
        cited = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert cited, state
        for file, name in cited:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)
    assert listed == {kind: set(names.split()) for kind, names in STATES.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "name", ["docs/architecture.md", "docs/guarantees.md", "CONTRIBUTING.md", "tests/README.md"]
)
def test_source_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+\.(?:py|json|md|toml|yaml))`", text))
    bases = (ROOT / "deployctl", ROOT, ROOT / "tests", ROOT / "tests" / "support")
    examples = {"prefect.yaml", "flows.py"}
    missing = {file for file in named if not any((base / file).exists() for base in bases)}
    assert missing - examples == set()


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_use_the_words_of_the_field(path: Path) -> None:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert [f"{number}: {line.strip()}" for number, line in lines if RETIRED.search(line)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_is_a_sentence(path: Path) -> None:
    """Capitalised, with a full stop: `Create it, or correct the name.`"""
    helps = texts_of_help(path.read_text(encoding="utf-8"))
    assert [f"{line}: {text}" for line, text in helps if not HELP.fullmatch(text)] == []
