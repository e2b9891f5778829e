"""Coerces a value to its shape, as Prefect would, and reports problems.

The result has Prefect's types (`"yes"` is true, `"3"` is 3, a single tag is a list) and only known
keys. Text with a placeholder and outputs of steps that have not run are accepted for any shape but
a table, because their values are not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from deployctl.core.diagnostics import Severity
from deployctl.core.fix import Fix, Remove, SetText, WrapValue
from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project import durations, keys, unknown_keys
from deployctl.project.shapes import (
    ABSENT,
    Anything,
    Choice,
    Duration,
    Either,
    Flag,
    Key,
    ListOf,
    MapOf,
    Mapping_,
    Number,
    Shape,
    Steps,
    Table,
    Text,
)
from deployctl.templating.grammar import has_placeholder
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown

Source: TypeAlias = Callable[[JsonPath], str | None]
"""Returns the source text of the scalar at a path of the value; None if it has none."""

_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE = frozenset({"false", "no", "off", "0", "f", "n"})


def _no_source(path: JsonPath) -> str | None:  # noqa: ARG001
    return None


def coerce(value: Json, shape: Shape, source: Source = _no_source) -> tuple[Json, list[Problem]]:
    """The value in the form of its shape, and its problems with paths from its root.

    Invalid parts are left out, so that the result is always valid. An invalid item of a list
    becomes None unless the items are text, so that the others keep their indexes.
    """
    coercer = _Coercer(source, [], shape)
    result = coercer.value(value, shape, ())
    return (None if result is ABSENT else result), coercer.problems


def is_unresolved(value: Json) -> bool:
    """Whether a value is not known yet: a template, or an output of a step that has not run."""
    return has_placeholder(value) or isinstance(value, Unknown)


def _needs_keys(shape: Shape) -> bool:
    """Whether the value cannot be a template: its keys are needed before it is rendered."""
    if isinstance(shape, ListOf):
        return _needs_keys(shape.item)
    return isinstance(shape, Choice) or (isinstance(shape, Table) and not shape.text_is)


class _Coercer:
    def __init__(self, source: Source, problems: list[Problem], root: Shape) -> None:
        self.source = source
        self.problems = problems
        self.root = root
        """The shape of the whole value."""

    def value(self, value: Json, shape: Shape, path: JsonPath) -> Json:
        """The coerced value, which is not null; ABSENT if it is invalid."""
        if isinstance(shape, Anything) or (is_unresolved(value) and not _needs_keys(shape)):
            return value
        match shape:
            case Text():
                return self.text(value, shape, path)
            case Flag():
                return self.flag(value, path)
            case Number():
                return self.number(value, shape, path)
            case Duration():
                return self.duration(value, shape, path)
            case Mapping_():
                return value if isinstance(value, dict) else self.wrong(value, "a mapping", path)
            case Steps():
                fits = isinstance(value, list | dict)
                return value if fits else self.wrong(value, "a list of steps", path)
            case ListOf():
                return self.list(value, shape, path)
            case MapOf():
                return self.map(value, shape, path)
            case Table():
                return self.table(value, shape, path)
            case Either():
                return self.either(value, shape, path)
            case Choice():
                return self.choice(value, shape, path)

    def text(self, value: Json, shape: Text, path: JsonPath) -> Json:
        """A text; other scalars become their source text (DC123)."""
        if isinstance(value, dict | list):
            return self.wrong(value, "a text", path)
        if not isinstance(value, str):
            written = None if shape.as_python else self.source(path)
            value = str(value) if written is None else written
            message, help_ = f"is read as the text '{value}'", f"Quote it: '{value}'."
            self.warn(path, "DC123", message, help_, SetText(path, value))
        if shape.choices and value not in shape.choices:
            help_ = did_you_mean(value, shape.choices) or f"It can be {quoted(shape.choices)}."
            same = [each for each in shape.choices if each.casefold() == value.casefold()]
            fix = SetText(path, same[0]) if same else None
            self.error(path, "DC124", f"cannot be '{value}'", help_, fix=fix)
            return ABSENT
        if found := [character for character in shape.forbidden if character in value]:
            listed = " ".join(found)
            self.error(
                path,
                "DC125",
                f"contains {listed}, which the server rejects in names",
                "Use - or _.",
            )
        return value

    def flag(self, value: Json, path: JsonPath) -> Json:
        """A boolean, or a word or number that Prefect reads as one."""
        if isinstance(value, bool):
            return value
        word = str(value).casefold() if isinstance(value, str | int | float) else ""
        if word in _TRUE or word in _FALSE or word in ("1.0", "0.0"):
            return word in _TRUE or word == "1.0"
        return self.wrong(value, "true or false", path)

    def number(self, value: Json, shape: Number, path: JsonPath) -> Json:
        """A number, or its text."""
        what = "a whole number" if shape.whole else "a number"
        try:
            number = float(value)
        except (TypeError, ValueError):
            return self.wrong(value, what, path)
        if isinstance(value, bool) or (shape.whole and not number.is_integer()):
            return self.wrong(value, what, path)
        if not shape.minimum <= number <= shape.maximum:
            limit = (
                f"at least {shape.minimum}"
                if number < shape.minimum
                else f"at most {shape.maximum}"
            )
            self.error(path, "DC124", f"must be {limit}, not {value}")
            return ABSENT
        return int(number) if shape.whole else number

    def duration(self, value: Json, shape: Duration, path: JsonPath) -> Json:
        """A duration in seconds."""
        found = durations.parse_duration(value)
        if found is None:
            help_ = "Write seconds (3600), ISO 8601 (PT1H) or HH:MM:SS (01:00:00)."
            return self.wrong(value, "a duration", path, help_)
        if found < shape.minimum or (shape.positive and found == shape.minimum):
            limit = "more than" if shape.positive else "at least"
            self.error(path, "DC124", f"must be {limit} {shape.minimum} seconds, not {found:g}")
            return ABSENT
        return found

    def list(self, value: Json, shape: ListOf, path: JsonPath) -> Json:
        """A list, or one item where that is allowed."""
        if shape.single and not isinstance(value, list | dict):
            if shape.single_refused:
                message = "is read as a list of one item"
                self.warn(path, "DC123", message, f"Write [{value}].", WrapValue(path))
            return [self.value(value, shape.item, path)]
        if not isinstance(value, list):
            dashed = "Put a dash in front of each item." if isinstance(value, dict) else None
            return self.wrong(value, "a list", path, dashed)
        listed: Iterable[tuple[JsonPath, Json]] = (
            ((*path, index), item) for index, item in enumerate(value)
        )
        if isinstance(shape.item, Text):
            listed = self.flattened(listed)
        items = [self.item(item, shape.item, below) for below, item in listed]
        if not isinstance(shape.item, Text):
            return [None if item is ABSENT else item for item in items]
        texts = [item for item in items if item is not ABSENT]
        return sorted(set(texts), key=str) if shape.unique else texts

    def map(self, value: Json, shape: MapOf, path: JsonPath) -> Json:
        """A mapping from names to items, without those that have errors."""
        if not isinstance(value, dict):
            return self.wrong(value, "a mapping from names", path)
        item = Mapping_() if shape.partial else shape.item
        found = {
            name: {} if each is None else self.value(each, item, (*path, name))
            for name, each in value.items()
        }
        return {name: each for name, each in found.items() if each is not ABSENT}

    def flattened(self, items: Iterable[tuple[JsonPath, Json]]) -> Iterator[tuple[JsonPath, Json]]:
        """The items of a list of texts, with those of lists in it: an alias in a list (DC123)."""
        for path, item in items:
            if isinstance(item, list):
                self.warn(path, "DC123", "is read as items of the list", "Write one flat list.")
                yield from self.flattened(((*path, n), inner) for n, inner in enumerate(item))
            else:
                yield path, item

    def item(self, value: Json, shape: Shape, path: JsonPath) -> Json:
        """One item of a list; ABSENT if it is null."""
        if value is not None:
            return self.value(value, shape, path)
        self.warn(path, "DC126", "is empty and left out", "Remove the dash.", Remove(path))
        return ABSENT

    def either(self, value: Json, shape: Either, path: JsonPath) -> Json:
        """The form that fits the type of the value."""
        if isinstance(value, dict):
            fitting = shape.mapping
        elif isinstance(value, list):
            fitting = shape.many
        else:
            fitting = shape.plain
        if fitting is None:
            expected = [
                name
                for name, part in (
                    ("a single value", shape.plain),
                    ("a mapping", shape.mapping),
                    ("a list", shape.many),
                )
                if part
            ]
            return self.wrong(value, " or ".join(expected), path)
        return self.value(value, fitting, path)

    def choice(self, value: Json, shape: Choice, path: JsonPath) -> Json:
        """The table that the value selects."""
        if not isinstance(value, dict):
            return self.wrong(value, "a mapping", path)
        known = shape.tables()
        kind = shape.select(value)
        if is_unresolved(kind):
            return value
        if kind not in known:
            help_ = did_you_mean(kind, known) or f"It can be {quoted(known)}."
            self.error((*path, "type"), "DC124", f"cannot be '{kind}'", help_)
            return ABSENT
        return self.table(value, known[kind], path)

    def table(self, value: Json, table: Table, path: JsonPath) -> Json:
        """A mapping with known keys; ABSENT if it has errors and no valid key."""
        if table.text_is and isinstance(value, str):
            self.warn(
                path,
                "DC123",
                f"is read as the name of the {table.name.replace('_', ' ')}",
                f"Write '{path[-1] if path else table.name}: {{{table.text_is}: {value}}}'.",
                WrapValue(path, table.text_is),
            )
            value = {table.text_is: value}
        if not isinstance(value, dict):
            return self.wrong(value, f"a mapping with the keys of a {table.name}", path)
        result: dict[str, Json] = {}
        reported = len(self.problems)
        for name, item in value.items():
            key = table.keys.get(name)
            if name in table.saved:
                self.saved((*path, name), known=key is not None)
            if key is None:
                self.unknown(value, table, (*path, name))
            elif (found := self.entry(item, key, (*path, name))) is not ABSENT:
                result[name] = found
        for name, key in table.keys.items():
            has_meaning = name in value and key.null is not ABSENT
            if key.required and not has_meaning and value.get(name) in (None, ""):
                self.missing(name, key, table, path)
        wrong = any(each.severity is Severity.ERROR for each in self.problems[reported:])
        return ABSENT if wrong and not result else result

    def entry(self, value: Json, key: Key, path: JsonPath) -> Json:
        """The value of a known key, or the meaning of null."""
        if value is not None:
            return self.value(value, key.shape, path)
        if key.null_refused:
            message = "is empty, which Prefect rejects"
            self.warn(path, "DC126", message, "Remove the key.", Remove(path))
        return key.null

    def missing(self, name: str, key: Key, table: Table, path: JsonPath) -> None:
        """Reports a required key that is missing."""
        self.error(path, "DC127", f"has no '{name}'", key.doc, subject=f"this {table.name}")

    def unknown(self, value: Mapping[str, Json], table: Table, path: JsonPath) -> None:
        """Reports a key of `value` that the table lacks, unless it is free or saved by Prefect."""
        name = str(path[-1])
        free = table.free and (name == "definitions" or name.startswith("x-"))
        if not free and name not in table.saved:
            in_deployment = self.root is keys.DEPLOYMENT and table is not keys.DEPLOYMENT
            find = unknown_keys.KeyFinder(value, table, path, in_deployment, self.fits)
            code, message, help_, fix = find.problem()
            severity = Severity.ERROR if table.strict else Severity.WARNING
            self.report_key(path, code, message, help_, severity, fix)

    def fits(self, value: Json, shape: Shape) -> bool:
        """Whether a value has the type of a shape; parts of it may be wrong."""
        problems = coerce(value, shape)[1] if value is not None else []
        return not any(each.code == "DC128" and not each.path for each in problems)

    def saved(self, path: JsonPath, *, known: bool) -> None:
        """Reports a key that Prefect wrote into files."""
        effect = "is rejected by Prefect in a file" if known else "has no effect in a file"
        help_ = "Remove it; an older version of Prefect wrote it there."
        fix = None if known else Remove(path)
        self.report_key(path, "DC122", effect, help_, Severity.WARNING, fix)

    def wrong(self, value: Json, expected: str, path: JsonPath, help_: str | None = None) -> Json:
        """Reports a value of the wrong type; ABSENT."""
        self.error(path, "DC128", f"must be {expected}, not {_kind(value)}", help_)
        return ABSENT

    def error(
        self,
        path: JsonPath,
        code: str,
        message: str,
        help_: str | None = None,
        subject: str = "",
        fix: Fix | None = None,
    ) -> None:
        """Reports an error; its message starts with the path, or with `subject`."""
        where = subject or (f"'{format_path(path)}'" if path else "it")
        self.problems.append(Problem(path, code, f"{where} {message}", help_, fix=fix))

    def warn(
        self, path: JsonPath, code: str, message: str, help_: str | None, fix: Fix | None = None
    ) -> None:
        """Reports a problem whose message starts with the path."""
        message = f"'{format_path(path)}' {message}"
        self.problems.append(Problem(path, code, message, help_, Severity.WARNING, fix))

    def report_key(
        self,
        path: JsonPath,
        code: str,
        message: str,
        help_: str | None,
        severity: Severity,
        fix: Fix | None,
    ) -> None:
        """Reports a problem of a key."""
        self.problems.append(Problem(path, code, f"'{path[-1]}' {message}", help_, severity, fix))


def _kind(value: Json) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case None:
            return "empty"
    return "a text"
