"""Reads what is possible of a file in the syntax of a Python that is newer than ours.

The file is cut into its top-level statements, and each is parsed on its own. Of a function that
does not parse, signature and docstring are enough: the flow's schema is in them. The names that any
other statement may bind are uncertain afterwards.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from keyword import iskeyword

_CONTINUES = re.compile(r"[\s#)\]}]|(?:else|elif|except|finally)\b|$")
_DEFINES_FUNCTION = re.compile(r"(?:async\s+)?def\b")
_DOCSTRING = re.compile(r"\s+[rRuU]?['\"]")
_NAMES = re.compile(r"^\s*(?:type\s+|class\s+|(?:async\s+)?def\s+)?([^\W\d]\w*)", re.MULTILINE)
_NEWER = (
    re.compile(r"^\s*type\s+\w+\s*(?:\[.*\])?\s*=", re.MULTILINE),  # 3.12
    re.compile(r"\b(?:def|class)\s+\w+\["),  # 3.12
    re.compile(r"\b[tT][rR]?['\"]|\b[rR][tT]['\"]"),  # 3.14
    re.compile(r"\bexcept\*?\s+[\w.]+\s*,"),  # 3.14
    re.compile(r"\b[fF][rR]?['\"].*\{|\b[rR][fF]['\"].*\{"),  # f-strings of 3.12
)
_MAX_STATEMENT = 400
"""Lines of a top-level statement that are tried to be parsed as one."""


def parse_in_part(source: str, error: SyntaxError) -> ast.Module:
    """Parses a file with newer syntax, without the parts that have it.

    Raises `error` if a part is no newer syntax that is known, but simply wrong.
    """
    lines = source.splitlines()
    starts = [n for n, line in enumerate(lines) if not _CONTINUES.match(line)]
    body: list[ast.stmt] = []
    position = 0
    within_unparsed = False
    while position < len(starts):
        end, statements = _statement(lines, starts, position)
        if statements:
            within_unparsed = False
        else:
            end = _end_of_definition(lines, starts, position)
            chunk = lines[starts[position] : _line(lines, starts, end)]
            is_newer = any(pattern.search("\n".join(chunk)) for pattern in _NEWER)
            # The text of a multi-line string in a function that doesn't parse may be anything.
            if not is_newer and not within_unparsed and not _opens_string(chunk):
                raise error
            rest = lines[starts[position] : starts[position] + _MAX_STATEMENT]
            statements, consumed = _replacement(chunk, rest)
            while end < len(starts) and starts[end] < starts[position] + consumed:
                end += 1
            within_unparsed = True
        for statement in statements:
            ast.increment_lineno(statement, starts[position])
        body += statements
        position = end
    return ast.Module(body, type_ignores=[])


def _opens_string(chunk: Sequence[str]) -> bool:
    """Whether a multi-line string begins in these lines and goes on after them."""
    text = "\n".join(chunk)
    return any(text.count(quotes) % 2 for quotes in ('"""', "'''"))


def _statement(
    lines: Sequence[str], starts: Sequence[int], position: int
) -> tuple[int, list[ast.stmt]]:
    """Parses the shortest complete statement from `position`; returns where the next one begins.

    A line at the left margin may belong to a multi-line string or to a decorated definition.
    """
    first = starts[position]
    for end in range(position + 1, len(starts) + 1):
        last = _line(lines, starts, end)
        if last - first > _MAX_STATEMENT and end > position + 1:
            break
        try:
            return end, ast.parse("\n".join(lines[first:last])).body
        except SyntaxError:
            continue
    return position, []


def _line(lines: Sequence[str], starts: Sequence[int], position: int) -> int:
    return starts[position] if position < len(starts) else len(lines)


def _end_of_definition(lines: Sequence[str], starts: Sequence[int], position: int) -> int:
    """Returns where the statement after this one begins; decorators belong to a definition."""
    while position < len(starts) - 1 and lines[starts[position]].startswith("@"):
        position += 1
    return position + 1


def _replacement(chunk: Sequence[str], rest: Sequence[str]) -> tuple[list[ast.stmt], int]:
    """Returns what stands for a statement that doesn't parse, and how many lines that covers.

    `rest`: the lines from its beginning, of which those of `chunk` belong to it for sure.
    """
    start = next((n for n, line in enumerate(chunk) if not line.startswith(("@", " ", ")"))), 0)
    if _DEFINES_FUNCTION.match(chunk[start]):
        found = _without_body(rest, start + 1)
        if found is not None:
            return [found[0]], max(found[1], len(chunk))
    names = sorted(set(_NAMES.findall("\n".join(chunk))))
    assigned = [f"    {name} = ..." for name in names if not iskeyword(name)]
    return ast.parse("\n".join(["if ...:", "    pass", *assigned])).body, len(chunk)


def _without_body(
    lines: Sequence[str], shortest: int
) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, int] | None:
    """Returns a function with its docstring only, and the number of lines that it takes."""
    for head in range(shortest, len(lines) + 1):
        function = _only("\n".join([*lines[:head], "    ..."]))
        if function is None:
            continue
        if lines[head : head + 1] and _DOCSTRING.match(lines[head]):
            for end in range(head + 1, len(lines) + 1):
                documented = _only("\n".join(lines[:end]))
                if documented is not None:
                    return documented, end
        return function, head
    return None


def _only(source: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Returns the only statement of a source, if it is a function."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return body[0]
    return None
