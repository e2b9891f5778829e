"""docs/prefect-yaml.md is what the tables of keys say."""

from __future__ import annotations

from pathlib import Path

from deployctl.project import keys, resource_keys
from deployctl.project.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "prefect-yaml.md"


def test_the_page_is_current() -> None:
    """`python -m deployctl.project.reference > docs/prefect-yaml.md` updates it."""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_every_key_has_a_row_with_its_text() -> None:
    page = reference()
    tables = (
        keys.TOP_LEVEL,
        keys.DEPLOYMENT,
        keys.SCHEDULE,
        resource_keys.POOL,
        resource_keys.QUEUE,
        keys.SLA,
    )
    for table in tables:
        for name, key in table.keys.items():
            assert f"| `{name}` | " in page, name
            assert key.doc in page, name


def test_every_link_leads_to_a_heading() -> None:
    page = reference()
    headings = {
        line[3:].lower().replace(" ", "-") for line in page.splitlines() if line[:3] == "## "
    }
    targets = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert targets <= headings
