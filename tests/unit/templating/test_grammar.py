from __future__ import annotations

import pytest

from deployctl.templating.grammar import Kind, is_opaque, malformed, placeholders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ build-image.tag }}", [("build-image.tag", Kind.STEP)]),
        ("{{tag}}", [("tag", Kind.STEP)]),
        ("{{\n tag\t}}", [("tag", Kind.STEP)]),
        ("{{ $HOME }}", [("HOME", Kind.ENV)]),
        ("{{ prefect.variables.team }}", [("team", Kind.VARIABLE)]),
        ("{{ prefect.blocks.json.a.b[0].c }}", [("json.a.b[0].c", Kind.BLOCK)]),
        ("{{ ctx.flow_run.name }}", [("ctx.flow_run.name", Kind.CTX)]),
        ("{{ größe }}", [("größe", Kind.STEP)]),
        ("a {{ x }} b {{ $Y }}", [("x", Kind.STEP), ("Y", Kind.ENV)]),
        ("{{{ x }}}", [("x", Kind.STEP)]),
        ("plain", []),
        ("{ x }", []),
        ("{{ a | upper }}", []),
        ("{{ a b }}", []),
        ("{{ }}", []),
    ],
)
def test_placeholders_are_read_as_prefect_reads_them(
    text: str, expected: list[tuple[str, Kind]]
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
def test_what_only_looks_like_a_placeholder_is_found(text: str, expected: list[str]) -> None:
    assert malformed(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("{{ x }}", True), ("{{ x | y }}", False), ("x", False), (1, False)]
)
def test_text_with_a_placeholder_is_opaque(value: object, expected: bool) -> None:
    assert is_opaque(value) is expected
