"""Help pages in plain text: description, examples, and options in titled groups.

Typer shows groups (`rich_help_panel`) only through Rich, whose import takes a third of the time
that `deployctl --help` has. So the pages are written with the plain formatter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from deployctl.cli.options import OUTPUT, SERVER

_ARGUMENTS = "Arguments"
_OPTIONS = "Options"
_COMMANDS = "Commands"
_LAST = (SERVER, OUTPUT)
"""Groups that many commands have: they come after the command's own."""
_SHORT_HELP_LENGTH = 200
"""Characters; longer than any first line of a docstring, so that none is cut."""


class HelpCommand(TyperCommand):
    """A command whose help page has the examples (its `epilog`) above the options."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """`[OPTIONS]` and the arguments: `NAME` if required, else `[NAME]`."""
        return [str(self.options_metavar), *_usage_of_arguments(self)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples, the arguments and the options by group."""
        _write_examples(self.epilog, formatter)
        _write_parameters(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes nothing: the epilog holds the examples, which are written before the options."""


class HelpGroup(TyperGroup):
    """A group of commands whose help page lists the commands by group."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples, the commands and the options by group."""
        _write_examples(self.epilog, formatter)
        self.format_commands(ctx, formatter)
        _write_parameters(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes nothing: the epilog holds the examples, which are written before the options."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Writes the first line of each command's help, by group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None) or _COMMANDS
            row = (name, command.get_short_help_str(_SHORT_HELP_LENGTH))
            sections.setdefault(title, []).append(row)
        width = max(map(len, self.commands))
        for title, rows in sections.items():
            padded = [(f"{name:<{width}}", text) for name, text in rows]
            _write_section(title, padded, formatter)


def _usage_of_arguments(command: Any) -> Iterable[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument" and not parameter.hidden:
            shown = parameter.metavar if parameter.required else f"[{parameter.metavar}]"
            yield shown + ("..." if parameter.nargs != 1 else "")


def _write_examples(text: str | None, formatter: Any) -> None:
    if text:
        with formatter.section("Examples"):
            indent = " " * formatter.current_indent
            formatter.write("".join(f"{indent}{line}\n" for line in text.splitlines()))


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    """Writes the parameters in their groups. Those without one (`--help`) join the last group."""
    sections: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: []}
    title = _OPTIONS
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        names, text = record
        if isinstance(parameter.show_default, str):
            text = text.replace(f"({parameter.show_default})", parameter.show_default)
        if parameter.param_type_name == "argument":
            sections[_ARGUMENTS].append((parameter.metavar, text))
        else:
            title = getattr(parameter, "rich_help_panel", None) or title
            rows = sections.setdefault(title, [])
            if len(names) > formatter.width - formatter.indent_increment:
                names, _, negated = names.partition(" / ")
                rows.append((f"{names} /", ""))
                names = negated
            rows.append((names, text))
    for name in sorted(sections, key=lambda each: _LAST.index(each) if each in _LAST else -1):
        if sections[name]:
            _write_section(name, sections[name], formatter)


def _write_section(title: str, rows: list[tuple[str, str]], formatter: Any) -> None:
    with formatter.section(title):
        formatter.write_dl(rows)
