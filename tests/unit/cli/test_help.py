"""Help pages: every command and option follows one style, and the examples work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from deployctl.cli.commands import app

ROOT: Any = typer.main.get_command(app)
PYTHON_TYPES = {"str", "int", "float", "bool", "list", "path", "Path", "text", "integer"}
IMPERATIVES = {
    *("Apply", "Change", "Check", "Create", "Delete", "Deploy", "List", "Print", "Run", "Show"),
    *("Start", "Write"),
}


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below a command, groups included, with its full name."""
    yield name, command
    for own, child in getattr(command, "commands", {}).items():
        yield from walk(child, f"{name} {own}")


COMMANDS = dict(walk(ROOT, "deployctl"))
OPTIONS = [
    pytest.param(command, parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in COMMANDS.items()
    if not hasattr(command, "commands")
    for parameter in command.params
]


def context(name: str) -> Any:
    return COMMANDS[name].make_context(name, [], resilient_parsing=True)


def example_lines(command: Any) -> list[str]:
    return [line for line in command.epilog.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_command_starts_with_an_imperative_sentence(name: str) -> None:
    first = COMMANDS[name].help.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 100
    assert re.split(r"\W", first)[0] in IMPERATIVES


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_two_examples(name: str) -> None:
    text = COMMANDS[name].epilog
    assert len(re.findall(r"^# [A-Z].*[^.]$", text, re.MULTILINE)) == 2
    assert len(example_lines(COMMANDS[name])) >= 2


@pytest.mark.parametrize(
    "line", [line for command in COMMANDS.values() for line in example_lines(command)]
)
def test_example_parses(line: str) -> None:
    program, *args = shlex.split(re.split(r" [>|] ", line)[0])
    assert program == "deployctl"
    command = ROOT
    while hasattr(command, "commands"):
        command = command.commands[args.pop(0)]
    command.make_context(command.name, args)


@pytest.mark.parametrize(("command", "parameter"), OPTIONS)
def test_parameter_has_help_and_group(command: Any, parameter: Any) -> None:
    assert re.fullmatch(r"[A-Z].*\.", parameter.help.replace("\n", " ")), command.name
    if parameter.param_type_name == "option":
        assert parameter.rich_help_panel


@pytest.mark.parametrize(("command", "parameter"), OPTIONS)
def test_parameter_names_its_value(command: Any, parameter: Any) -> None:
    if parameter.param_type_name == "argument":
        assert parameter.metavar, command.name
    elif not parameter.is_flag:
        names, _ = parameter.get_help_record(context("deployctl")) or ("", "")
        value = names.rpartition(" ")[2]
        assert parameter.hidden or re.fullmatch(r"[A-Z/|=]+|<[a-z|]+>", value)
        assert value.strip("<>") not in PYTHON_TYPES


@pytest.mark.parametrize(("command", "parameter"), OPTIONS)
def test_option_with_value_shows_its_default(command: Any, parameter: Any) -> None:
    if parameter.param_type_name == "option" and not (parameter.is_flag or parameter.hidden):
        _, text = parameter.get_help_record(context("deployctl"))
        is_shown = re.search(r"\[.*(default: |required)", text)
        is_in_title = "(default: " in parameter.rich_help_panel
        assert is_shown or is_in_title or parameter.multiple, command.name


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_terminal(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = COMMANDS[name].get_help(context(name))
    examples = example_lines(COMMANDS[name])
    too_long = [line for line in text.splitlines() if len(line) > columns]
    assert [line for line in too_long if line.strip() not in examples] == []


def test_help_shows_examples_then_options_by_group() -> None:
    text = COMMANDS["deployctl plan"].get_help(context("deployctl plan"))
    headings = re.findall(r"^(\w[^:\n]*(?:\(.*\))?):$", text, re.MULTILINE)
    assert headings == [
        "Examples",
        "Arguments",
        "Selection",
        "Deploy",
        "Build",
        "Overrides (default: what prefect.yaml says)",
        "Server",
        "Output",
    ]
    assert text.startswith("Usage: deployctl plan [OPTIONS] [FILE:FLOW]\n")
    assert "\n  -n, --name NAME " in text
