"""Values of an environment: `${NAME}` in what it says, `{{ env.NAME }}` anywhere in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from deployctl.core.json_values import JsonPath, format_path
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project.compose import Node
from deployctl.project.nodes import in_mapping, in_sequence, text_node
from deployctl.templating.grammar import placeholders
from deployctl.templating.problems import Problem

_PREFIX = "env."
_VARIABLE = re.compile(
    r"\$(?P<literal>\$)(?=\{)"
    r"|\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>(?:\{\{[^{}]*\}\}|[^{}])*))?\}"
    r"|(?P<malformed>\$\{[^}]*\}?)"
)


def expand_variables(node: Node, environ: Mapping[str, str]) -> tuple[Node, list[Problem]]:
    """A value with the environment variables in its `${NAME}` and `${NAME:-default}`.

    The default is for variables that are not set, or empty. `$${` stands for `${`. The result is
    text, as in a file with the text in that place. Without a value it is a problem (DC143).
    """
    problems: list[Problem] = []

    def expand(leaf: Node, path: JsonPath) -> Node:
        """The text with its variables filled in."""
        if "${" not in leaf.value:
            return leaf

        def value_of(found: re.Match[str]) -> str:
            """The value of one `${…}`; its text if it has none."""
            if found["literal"]:
                return "$"
            name, default = found["name"], found["default"]
            if name and default is not None:
                return environ.get(name) or default
            if name in environ:
                return environ[name]
            where, here = format_path(path), found[0]
            if name:
                message = f"'{where}': the environment variable '{name}' is not set"
                help_ = f"Set {name} where deployctl runs, or write ${{{name}:-default}}."
            else:
                message = f"'{where}': '{here}' is neither ${{NAME}} nor ${{NAME:-default}}"
                help_ = "Correct it, or write $${ for the text itself."
            problems.append(Problem(path, "DC143", message, help_))
            return here

        return text_node(_VARIABLE.sub(value_of, leaf.value), leaf)

    return _with_texts(node, (), expand), problems


def fill_in(node: Node, values: Node, name: str) -> tuple[Node, list[Problem]]:
    """A value with the `{{ env.NAME }}` in it replaced by the values of the environment `name`.

    Text that is one placeholder becomes the value with its type, at the position of the value. A
    value that the environment lacks is a problem (DC142).
    """
    problems: list[Problem] = []

    def fill(leaf: Node, path: JsonPath) -> Node:
        """The text with its placeholders filled in."""
        found = [each for each in placeholders(leaf.value) if each.name.startswith(_PREFIX)]
        pieces, end = [], 0
        for each in found:
            key = each.name.removeprefix(_PREFIX)
            is_name = key == "name"
            value = text_node(name, leaf) if is_name else values.find(_parts(key))
            is_whole = (each.start, each.end) == (0, len(leaf.value))
            if value is None:
                problems.append(_unknown(path, str(each), key, values, name))
            elif is_whole:
                return value
            elif isinstance(value.value, dict | list):
                message = f"'{format_path(path)}': '{each}' is a mapping or a list, and not text"
                help_ = "Let it be the whole value, or name one value of it."
                problems.append(Problem(path, "DC142", message, help_))
                value = None
            shown = leaf.value[each.start : each.end] if value is None else _text(value)
            pieces += [leaf.value[end : each.start], shown]
            end = each.end
        return text_node("".join(pieces) + leaf.value[end:], leaf) if found else leaf

    return _with_texts(node, (), fill), problems


def keys_used(node: Node) -> set[str]:
    """The keys of `values:` that the `{{ env.NAME }}` in a value name: `a` of `{{ env.a.b }}`."""
    return {
        str(_parts(each.name.removeprefix(_PREFIX))[0])
        for _, below in node.walk()
        if isinstance(below.value, str)
        for each in placeholders(below.value)
        if each.name.startswith(_PREFIX)
    }


def _parts(key: str) -> JsonPath:
    """The path of `a.b[0]`."""
    split = key.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdecimal() else part for part in split)


def _text(node: Node) -> str:
    """A scalar as part of a text: as it is written."""
    if isinstance(node.value, str):
        return node.value
    return "" if node.value is None else (node.text or str(node.value))


def _unknown(path: JsonPath, placeholder: str, key: str, values: Node, name: str) -> Problem:
    known = ["name", *map(str, values.parts)]
    message = f"'{format_path(path)}': the environment '{name}' has no value '{key}'"
    listed = f"It has {quoted(known)}. Add '{key}' below 'values:' of the environment."
    help_ = did_you_mean(key, known) or listed
    return Problem(path, "DC142", f"{message} for '{placeholder}'", help_)


def _with_texts(node: Node, path: JsonPath, change: Callable[[Node, JsonPath], Node]) -> Node:
    """The value with each text in it changed; the node itself if none is."""
    if isinstance(node.value, str):
        return change(node, path)
    parts = {key: _with_texts(each, (*path, key), change) for key, each in node.parts.items()}
    if all(each is node.parts[key] for key, each in parts.items()):
        return node
    is_list = isinstance(node.value, list)
    return in_sequence(node, list(parts.values())) if is_list else in_mapping(node, parts)
