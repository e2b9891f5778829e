"""References to blocks and variables of the server: finding, reading and resolving them.

All references of a command are read in one batch, each once, and without secrets: the server sends
`********` in their place, and the schema of the block names the fields. A secret that would have to
be stored in plain text is therefore never read, and is reported instead. Only steps, which run here
and store nothing, and the jobs of runs get secrets; these are masked in all later output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.core import redact
from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json, JsonPath, format_path, leaves
from deployctl.core.suggest import quoted
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.values import lookup

Source: TypeAlias = tuple[PlaceholderKind, tuple[str, ...]]
"""The kind and name of a block or variable; see `Reference.source`."""
_KINDS = frozenset({PlaceholderKind.BLOCK, PlaceholderKind.DOCUMENT, PlaceholderKind.VARIABLE})


class Unresolved(Exception):
    """A placeholder has no value. Raised by a source, and handled by the rendering pass."""

    def __init__(
        self,
        code: str,
        message: str,
        help: str | None = None,  # noqa: A002
        meant: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.meant = meant
        """What the placeholder must name instead, if only one thing can be meant."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A block or a variable by its name on the server, for blocks with the path into it."""

    kind: PlaceholderKind
    """BLOCK, DOCUMENT or VARIABLE."""
    name: str
    """The name after the prefix: `secret.tok.path` or `x`; the id of a DOCUMENT."""

    @property
    def source(self) -> tuple[str, ...]:
        """The object to read: (type, name) of a block, else (name,)."""
        return (
            tuple(self.name.split(".", 2)[:2])
            if self.kind is PlaceholderKind.BLOCK
            else (self.name,)
        )

    @property
    def path(self) -> str:
        """The path into a block; "" for all of it."""
        return ".".join(self.name.split(".", 2)[2:]) if self.kind is PlaceholderKind.BLOCK else ""

    def __str__(self) -> str:
        match self.kind:
            case PlaceholderKind.BLOCK:
                return f"block '{'/'.join(self.source)}'"
            case PlaceholderKind.DOCUMENT:
                return f"block with the id '{self.name}'"
        return f"variable '{self.name}'"


def document_id(value: Mapping[str, Json]) -> str:
    """The id in `{"$ref": {"block_document_id": …}}`; "" of any other mapping."""
    reference = value.get("$ref")
    return str(reference.get("block_document_id") or "") if isinstance(reference, dict) else ""


def references(value: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Reference]]:
    """All references in a value with their paths, in document order."""
    if isinstance(value, str):
        for placeholder in placeholders(value):
            if placeholder.kind in _KINDS:
                yield path, Reference(placeholder.kind, placeholder.target)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, (*path, index))
    elif isinstance(value, dict):
        if document_id(value):
            yield path, Reference(PlaceholderKind.DOCUMENT, document_id(value))
        else:
            for key, item in value.items():
                yield from references(item, (*path, key))


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """The blocks and variables that were read from the server; call it to resolve a reference."""

    sources: Mapping[Source, Json]
    """The answers of the server; None for objects that it does not have."""
    secrets: bool = False
    """Whether the answers contain secrets, which may be used."""

    def __call__(self, reference: Reference) -> Json:
        """The value of a reference. Raises `Unresolved` if it is missing or is a secret."""
        found = self.sources.get((reference.kind, reference.source))
        if found is None:
            raise Unresolved("DC304", f"the server has no {reference}", _help(reference))
        if reference.kind is PlaceholderKind.VARIABLE:
            return found["value"]
        try:
            path = _full_path(found["data"], reference.path)
            value = lookup(found["data"], path) if path else found["data"]
        except LookupError:
            message = f"the {reference} has no '{reference.path}'"
            raise Unresolved("DC305", message, f"It has {quoted(found['data'])}.") from None
        if not self.secrets and (_touches_secret(found, path) or _is_masked(value)):
            raise Unresolved(
                "DC306",
                f"the {reference} is secret and would be stored in plain text",
                "Put the reference into 'job_variables.env', where it stays a reference until the "
                "run starts, or load the block in the flow.",
            )
        return value

    def with_sources(self, sources: Mapping[Source, Json]) -> ReferenceValues:
        """The values, and in front of them those of objects that the command will write."""
        return replace(self, sources={**self.sources, **sources})

    def is_secret(self, reference: Reference) -> bool:
        """Whether the value of a reference is, contains, or is part of a secret."""
        found = self.sources.get((reference.kind, reference.source))
        if found is None or reference.kind is PlaceholderKind.VARIABLE:
            return False
        return _touches_secret(found, _full_path(found["data"], reference.path))


def missing_references(rendered: Json, library: ReferenceValues) -> Iterator[Problem]:
    """References that a rendered value leaves to the worker and that the server cannot resolve.

    They are warnings, because they may be created before the first run.
    """
    for path, reference in references(rendered):
        if library.is_secret(reference):
            continue
        try:
            library(reference)
        except Unresolved as reason:
            message = f"{format_path(path)}: {reason.message}, and runs need it"
            yield Problem(path, reason.code, message, reason.help, Severity.WARNING)


def read_references(
    references: Iterable[Reference], *, secrets: bool = False
) -> ApiCall[ReferenceValues]:
    """Reads the blocks and variables of these references in one batch, each once.

    `secrets`: read secret values, too, for steps and jobs; they are registered and never shown.
    """
    sources = list(dict.fromkeys((item.kind, item.source) for item in references))
    readable = [
        (kind, name)
        for kind, name in sources
        if len(name) == 2 or kind is not PlaceholderKind.BLOCK
    ]
    if not readable:
        return ReferenceValues({}, secrets)
    answers = yield [_request(kind, name, secrets) for kind, name in readable]
    if secrets:
        redact.register_secrets(secret_values(answers), stored=True)
    return ReferenceValues(dict(zip(readable, answers, strict=True)), secrets)


def _request(kind: PlaceholderKind, name: tuple[str, ...], secrets: bool) -> Request:
    match kind:
        case PlaceholderKind.VARIABLE:
            path = paths.variable_by_name(name[0])
        case PlaceholderKind.DOCUMENT:
            path = paths.block_document(name[0])
        case _:
            path = paths.block(*name)
    if secrets and kind is not PlaceholderKind.VARIABLE:
        path += "?include_secrets=true"
    return Request("GET", path, subject=f"{kind} {'/'.join(name)}", missing_ok=True)


def _help(reference: Reference) -> str:
    if reference.kind is PlaceholderKind.BLOCK and len(reference.source) < 2:
        return "Write '{{ prefect.blocks.<type>.<name> }}'."
    if reference.kind is PlaceholderKind.VARIABLE and "." in reference.name:
        name = reference.name.partition(".")[0]
        return f"A variable has no parts; write '{{{{ prefect.variables.{name} }}}}'."
    return "Create it on the server, or correct the name."


def _full_path(data: Json, path: str) -> str:
    """The path in the data of a block; a block whose only field is `value` stands for that."""
    if list(data) != ["value"] or path == "value" or path.startswith(("value.", "value[")):
        return path
    return f"value.{path}" if path else "value"


def _touches_secret(document: Json, path: str) -> bool:
    """Whether the value at `path` is, contains, or is part of a secret field of the block's schema.

    Of a name with a wildcard (`headers.*.value`), everything below the part before the wildcard is
    secret, as it is for the server.
    """
    names = document.get("block_schema", {}).get("fields", {}).get("secret_fields") or ()
    parts_of_path = path.replace("[", ".").replace("]", "").split(".") if path else []
    for name in names:
        parts = name.split(".")
        prefix = parts[: parts.index("*")] if "*" in parts else parts
        if all(one == other for one, other in zip(parts_of_path, prefix, strict=False)):
            return True
    return False


def _is_masked(value: Json) -> bool:
    return any(leaf == redact.MASK for _, leaf in leaves(value))


def secret_values(documents: Iterable[Json]) -> Iterator[str]:
    """The values of blocks that their schemas declare secret; None is skipped."""
    for document in documents:
        for path, leaf in leaves((document or {}).get("data")):
            is_value = isinstance(leaf, str | int | float) and not isinstance(leaf, bool)
            if is_value and _touches_secret(document, ".".join(map(str, path))):
                yield str(leaf)
