"""Fixes of single values: what they edit, and where they leave the text alone."""

from __future__ import annotations

import pytest

from deployctl.core.diagnostics import Report
from deployctl.core.fix import Fix, Quote, ReplaceText
from deployctl.project.document import parse_document
from deployctl.project.fixes import apply_fixes

QUOTED_SCALARS = [
    ("a: 007 # agent", 'a: "007" # agent'),
    ("a: &x 1.10", 'a: &x "1.10"'),
    ("a: true", 'a: "true"'),
    ("a: 'text'", None),
    ("a: [1]", None),
    ("b: 1", None),
    ("a: &x 1\nb: *x", None),
]


@pytest.mark.parametrize(("before", "after"), QUOTED_SCALARS)
def test_quotes_what_is_written(before: str, after: str | None) -> None:
    found = parse_document(before, "prefect.yaml", Report())
    assert found is not None
    fix = Quote(("a",))
    expected = (before, []) if after is None else (after, [fix])
    assert apply_fixes(found, [fix]) == expected


def test_replaces_parts_of_a_text_and_keeps_how_it_is_written() -> None:
    text = "a: |\n  x {{ on }}\n  y {{ two }} {{ on }}\nb: 'on'\nc: \"{{ on\\u0020}}\"\n"
    found = parse_document(text, "prefect.yaml", Report())
    assert found is not None
    fixes: list[Fix] = [
        ReplaceText(("a",), "{{ on }}", "{{ one }}"),
        ReplaceText(("c",), "{{ on }}", "{{ one }}"),
    ]
    changed, applied = apply_fixes(found, fixes)
    assert changed == text.replace("{{ on }}", "{{ one }}")
    assert applied == fixes[:1]
