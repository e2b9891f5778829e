"""The `command` decorator: makes a Typer command of a function that takes groups of options.

    @command("build", ("Build and push all images", "deployctl build"))
    def build(ctx: CommandContext, selection: SelectionOptions, builder: BuilderOptions) -> None:
        \"""Run the build and push steps.\"""

A function whose first parameter is `ctx` gets an open `CommandContext`, and the command gets the
options `--output`, `--strict` and `--traceback`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer

from deployctl.cli.context import command_context
from deployctl.cli.help import HelpCommand
from deployctl.cli.options import OutputOptions

_CONTEXT = "ctx"
_OUTPUT = "output_options"


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line."""

    name: str
    """As in the JSON output: `plan`, `work-pool ls`."""
    callback: Callable[..., None]
    """Takes one keyword argument per option and argument."""
    examples: tuple[tuple[str, str], ...]
    """What a command line does, and the line."""

    def add_to(self, app: typer.Typer, group: str | None = None) -> None:
        """Adds the command to a Typer application, in a titled group of its help page."""
        epilog = "\n".join(f"# {text}\n{line}" for text, line in self.examples)
        app.command(
            self.name.rpartition(" ")[2], cls=HelpCommand, epilog=epilog, rich_help_panel=group
        )(self.callback)


def command(
    name: str, *examples: tuple[str, str], output_options: bool = True
) -> Callable[[Callable[..., None]], Command]:
    """Makes a command of a function; see the module for an example.

    `output_options=False`: the command has a context, and always prints text.
    """

    def decorate(function: Callable[..., None]) -> Command:
        """Reads the signature of the function, once, at import."""
        hints = get_type_hints(function, include_extras=True)
        has_context = hints.pop(_CONTEXT, None) is not None
        hints.pop("return")
        parameters = inspect.signature(function).parameters
        accepted = {each: parameters[each].replace(annotation=hints[each]) for each in hints}
        if has_context and output_options:
            accepted[_OUTPUT] = inspect.Parameter(
                _OUTPUT, inspect.Parameter.KEYWORD_ONLY, annotation=OutputOptions
            )

        def callback(**values: Any) -> None:
            """Runs the command with the parsed values."""
            arguments = _regroup(accepted, values)
            output = arguments.pop(_OUTPUT, OutputOptions())
            if not has_context:
                function(**arguments)
                return
            with command_context(name, output) as ctx:
                function(ctx, **arguments)

        callback.__signature__ = inspect.Signature(_flatten(accepted))  # type: ignore[attr-defined]
        callback.__doc__, callback.__name__ = function.__doc__, function.__name__
        return Command(name, callback, examples)

    return decorate


def _flatten(accepted: dict[str, inspect.Parameter]) -> list[inspect.Parameter]:
    """The parameters, with one per field in place of a group of options."""
    parameters: list[inspect.Parameter] = []
    for parameter in accepted.values():
        group = parameter.annotation
        if _is_group(group):
            hints = get_type_hints(group, include_extras=True)
            parameters += (
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=_default(field),
                    annotation=hints[field.name],
                )
                for field in dataclasses.fields(group)
            )
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return parameters


def _regroup(accepted: dict[str, inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the command function from the values of the flat parameters."""
    arguments: dict[str, Any] = {}
    for name, parameter in accepted.items():
        group = parameter.annotation
        if _is_group(group):
            names = [field.name for field in dataclasses.fields(group)]
            arguments[name] = group(**{each: values[each] for each in names})
        else:
            arguments[name] = values[name]
    return arguments


def _is_group(annotation: Any) -> bool:
    return dataclasses.is_dataclass(annotation)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    required = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if required else field.default
