"""Seed files: variables and blocks, as mappings or lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.project.seeds import Seeds, block_reference, read_seeds

MAPPINGS = """
variables:
  region: eu
  limits: {rows: 10}
  level: {value: 3, tags: [a]}
  value: {value: 1, more: 2}
blocks:
  api-key: {type: secret, values: {value: "{{ $KEY }}"}}
"""
LISTS = """
deployments: []
variables:
- {name: region, value: eu}
- {name: limits, value: {rows: 10}}
- {name: level, value: 3, tags: a}
- {name: value, value: {value: 1, more: 2}}
blocks:
- name: api-key
  type: secret
  values: {value: "{{ $KEY }}"}
"""


def read(
    folder: Path, text: str, environ: Mapping[str, str] | None = None
) -> tuple[Seeds | None, str, Report]:
    path, report = folder / "dev.yaml", Report()
    path.write_text(text)
    return *read_seeds(path, environ or {}, report), report


@pytest.mark.parametrize("text", [MAPPINGS, LISTS])
def test_reads_mappings_and_lists(tmp_path: Path, text: str) -> None:
    seeds, _, report = read(tmp_path, text, {"KEY": "from-the-environment"})
    assert seeds is not None
    assert report.items == []
    assert [(each.name, each.value, each.tags) for each in seeds.variables] == [
        ("region", "eu", None),
        ("limits", {"rows": 10}, None),
        ("level", 3, ["a"]),
        ("value", {"value": 1, "more": 2}, None),
    ]
    (block,) = seeds.blocks
    assert (block.type, block.name) == ("secret", "api-key")
    assert block.values == {"value": "from-the-environment"}
    assert redact.redact("a from-the-environment b") == f"a {redact.MASK} b"
    assert redact.redact("secret") == "secret"


def test_any_value_of_a_variable_is_one_also_null(tmp_path: Path) -> None:
    text = "variables: {a: null, b: {value: null}, c: '', d: {value: ''}}"
    seeds, _, report = read(tmp_path, text)
    assert seeds is not None
    assert [each.value for each in seeds.variables] == [None, None, "", ""]
    assert report.items == []


@pytest.mark.parametrize(
    ("text", "code", "line", "help_"),
    [
        ("variabls: {a: 1}", "DC120", 1, "Did you mean 'variables'?"),
        ("variables: 3", "DC128", 1, None),
        ("[variables]", "DC109", 1, "Begin with 'variables:' or 'blocks:'."),
        ("variables:\n- {value: 1}", "DC127", 2, "The variable's name."),
        ("variables:\n- x", "DC128", 2, None),
        ("variables:\n- {name: a, value: 1}\n- {name: a, value: 2}", "DC129", 3, None),
        ("variables:\n  a: '{{ $UNSET }}'", "DC302", 2, None),
        ("variables:\n  a: '{{ prefect.variables.b }}'", "DC133", 2, None),
        ("blocks:\n  a: {type: secret, value: x}", "DC121", 2, "Write it under 'values'."),
        ("blocks:\n  a: {type: secret, data: {value: x}}", "DC121", 2, "Write 'values'."),
        ("blocks:\n  a: {type: secret, values: {value: x, a: [}}", "DC103", 2, None),
    ],
)
def test_reports_mistakes_with_line_and_help(
    tmp_path: Path, text: str, code: str, line: int, help_: str | None
) -> None:
    _, _, report = read(tmp_path, text)
    first = report.items[0]
    assert first.span is not None
    assert (first.code, first.span.line, first.fix) == (code, line, None)
    assert help_ is None or first.help == help_


def test_excerpts_show_no_value_of_a_block(tmp_path: Path) -> None:
    text = (
        "variables: {a: shown}\n"
        "blocks:\n  x: {type: aws, values: {name: hid-den, text: '{{ $A }}'}, vale: oops}\n"
        "- name: |\n"
    )
    assert read(tmp_path, text)[1] == ""
    assert read(tmp_path, "blocks: {a: {values: {key: hidden, key: x}}}")[1] == ""
    _, shown, _ = read(tmp_path, text.removesuffix("- name: |\n"))
    assert "{name: *******, text: '{{ $A }}'}, vale: ****}" in shown
    assert shown.startswith("variables: {a: shown}\nblocks:\n  x: {type: aws, ")


def test_missing_file_names_the_option(tmp_path: Path) -> None:
    report = Report()
    assert read_seeds(tmp_path / "no.yaml", {}, report) == (None, "")
    assert report.items[0].help == "Create it, or name another file with --seed."


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("{{ prefect.blocks.aws-credentials.dev }}", ("aws-credentials", "dev")),
        ("{{ prefect.blocks.secret.a.value }}", None),
        ("x {{ prefect.blocks.secret.a }}", None),
        ("{{ $A }}", None),
        (3, None),
    ],
)
def test_whole_blocks_are_references(value: object, reference: object) -> None:
    assert block_reference(value) == reference
