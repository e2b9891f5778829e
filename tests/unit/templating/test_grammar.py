from __future__ import annotations

import pytest

from deployctl.templating.grammar import (
    PlaceholderKind,
    has_placeholder,
    malformed_placeholders,
    placeholders,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ build-image.tag }}", [("build-image.tag", PlaceholderKind.STEP)]),
        ("{{tag}}", [("tag", PlaceholderKind.STEP)]),
        ("{{\n tag\t}}", [("tag", PlaceholderKind.STEP)]),
        ("{{ $HOME }}", [("HOME", PlaceholderKind.ENV)]),
        ("{{ prefect.variables.team }}", [("team", PlaceholderKind.VARIABLE)]),
        ("{{ prefect.blocks.json.a.b[0].c }}", [("json.a.b[0].c", PlaceholderKind.BLOCK)]),
        ("{{ ctx.flow_run.name }}", [("ctx.flow_run.name", PlaceholderKind.CTX)]),
        ("{{ größe }}", [("größe", PlaceholderKind.STEP)]),
        ("a {{ x }} b {{ $Y }}", [("x", PlaceholderKind.STEP), ("Y", PlaceholderKind.ENV)]),
        ("{{{ x }}}", [("x", PlaceholderKind.STEP)]),
        ("plain", []),
        ("{ x }", []),
        ("{{ a | upper }}", []),
        ("{{ a b }}", []),
        ("{{ }}", []),
    ],
)
def test_finds_placeholders_as_prefect_does(
    text: str, expected: list[tuple[str, PlaceholderKind]]
) -> None:
    assert [(found.target, found.kind) for found in placeholders(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a | upper }}", ["{{ a | upper }}"]),
        ("{{ }}", ["{{ }}"]),
        ("x {{ a", ["{{ a"]),
        ("{{ ok }} {{ not ok }} {{ 'x' }}", ["{{ not ok }}", "{{ 'x' }}"]),
        ("{{ ok }}", []),
        ("}} {", []),
        ("plain", []),
    ],
)
def test_finds_malformed_placeholders(text: str, expected: list[str]) -> None:
    assert malformed_placeholders(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("{{ x }}", True), ("{{ x | y }}", False), ("x", False), (1, False)]
)
def test_recognizes_text_with_a_placeholder(value: object, expected: bool) -> None:
    assert has_placeholder(value) is expected
