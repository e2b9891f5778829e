"""Environments: what `--env NAME` changes in a file, before anything else reads it.

An environment is an item of `environments:`, or the file `prefect.NAME.yaml` beside the project's;
if there are both, the second is merged into the first. The result is a document like any other:
each value keeps the position that it has in the file that it comes from.

    environments:
      prod:
        name_suffix: -prod
        work_pool: {name: k8s}
        deployments: {daily: {schedules: [{cron: "0 6 * * *"}]}}
      pr-*:
        name_suffix: "-{{ env.name }}"
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace

from deployctl.core.diagnostics import Report, Severity
from deployctl.core.errors import UsageError
from deployctl.core.json_values import format_path, leaves
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project import keys
from deployctl.project.coerce import coerce
from deployctl.project.compose import Node
from deployctl.project.document import Document, Environment
from deployctl.project.entry_nodes import merge_entry, merge_environment
from deployctl.project.environment_keys import environment_table
from deployctl.project.environment_values import expand_variables, fill_in, keys_used
from deployctl.project.nodes import (
    child,
    in_mapping,
    in_sequence,
    set_file,
    text_node,
    text_of,
)
from deployctl.templating.grammar import placeholders
from deployctl.templating.problems import Problem

ENVIRONMENT = environment_table(keys.DEPLOYMENT)
_KEY = "environments"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URL = re.compile(r"https?://.", re.IGNORECASE)
_SERVER = ("api_url", "profile")
_MERGED = ("paused", "parameters", "work_pool")
"""Keys of an environment that are keys of each deployment."""


def check_name(name: str) -> None:
    """Checks the name of an environment, which is part of file names. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--env: '{name}' cannot be the name of an environment",
            help="Use letters, digits, '.', '_' and '-'.",
        )


def environment_named(name: str | None) -> Environment | None:
    """The environment of a command that reads no file. Raises UsageError."""
    if name:
        check_name(name)
    return Environment(name) if name else None


def project_in(project: str, environment: Environment | None) -> str:
    """The name under which the project is recorded in an environment: `etl@prod`."""
    return f"{project}@{environment.name}" if environment else project


def without_environment(document: Document, report: Report) -> Document | None:
    """The document where no environment is asked for; None if it can't be used without one.

    Misspelt keys of its environments are warnings.
    """
    listed = document.data.get(_KEY)
    table = replace(ENVIRONMENT, strict=False)
    problems = []
    if listed is not None and not isinstance(listed, dict):
        message = f"'{_KEY}' must be a mapping from names, and is ignored"
        problems.append(Problem((_KEY,), "DC131", message, None))
    for name, section in listed.items() if isinstance(listed, dict) else ():
        known = dict.fromkeys(section) if isinstance(section, dict) else {}
        problems += [each.below((_KEY, name)) for each in coerce(known, table)[1]]
    document.report_problems((replace(each, fix=None) for each in problems), report)
    needed = list(_needs_environment(document))
    document.report_problems(needed, report)
    return None if needed else document


def _needs_environment(document: Document) -> Iterator[Problem]:
    """Placeholders that only an environment has a value for, in a file that has environments."""
    listed = document.data.get(_KEY)
    if not isinstance(listed, dict) or not listed or "env." not in document.text:
        return
    others = {key: item for key, item in document.data.items() if key != _KEY and not _is_free(key)}
    for path, leaf in leaves(others):
        for each in placeholders(leaf if isinstance(leaf, str) else ""):
            if each.name.startswith("env."):
                message = f"'{format_path(path)}': '{each}' has a value only in an environment"
                help_ = f"Add --env NAME. The file has {quoted(listed)}."
                yield Problem(path, "DC142", message, help_)


def with_environment(
    document: Document,
    name: str,
    beside: Document | None,
    environ: Mapping[str, str],
    report: Report,
) -> Document | None:
    """The document with the values of an environment; None if that is impossible.

    `beside`: the file of the environment, if there is one. What is wrong is reported.
    """
    section = _section_with(document, name, beside, report)
    section = section and _resolved(document, section, name, environ, report)
    if section is None:
        return None
    values = child(section, "values") or in_mapping(section, {})
    merged = _merged(document, section, values, name, report)
    free = {key: node for key, node in merged.parts.items() if _is_free(key)}
    others = {key: node for key, node in merged.parts.items() if key not in free}
    filled, problems = fill_in(in_mapping(merged, others), values, name)
    result = replace(document, environment=_environment(name, section))
    result = result.with_root(in_mapping(merged, {**filled.parts, **free}))
    result.report_problems(problems, report)
    return None if problems else result


def with_name_and_server(
    document: Document,
    name: str,
    beside: Document | None,
    environ: Mapping[str, str],
    report: Report,
) -> Document | None:
    """The document for a command that needs only the project's name and the server.

    Only values of the environment that these two use are resolved; see `with_environment`.
    """
    section = _section_with(document, name, beside, report)
    if section is None:
        return None
    parts = section.parts.items()
    server: dict[str | int, Node] = {key: node for key, node in parts if key in _SERVER}
    own_name = child(document.root, "name")
    named: dict[str | int, Node] = {"name": own_name} if own_name else {}
    expanded, _ = expand_variables(in_mapping(section, server), environ)
    if used := {*keys_used(expanded), *keys_used(in_mapping(document.root, named))}:
        server |= _values_used(section, used)
    resolved = _resolved(document, in_mapping(section, server), name, environ, report)
    if resolved is None:
        return None
    values = child(resolved, "values") or in_mapping(resolved, {})
    filled, problems = fill_in(in_mapping(document.root, named), values, name)
    result = replace(document, environment=_environment(name, resolved))
    result = result.with_root(in_mapping(document.root, {**document.root.parts, **filled.parts}))
    result.report_problems(problems, report)
    return None if problems else result


def _values_used(section: Node, used: Set[str]) -> dict[str | int, Node]:
    """The `values` of an environment, blank where they are not used: they need no variables."""
    values = child(section, "values")
    if values is None or not isinstance(values.value, dict):
        return {"values": values} if values else {}
    parts = {
        key: node if key in used else text_node("", node) for key, node in values.parts.items()
    }
    return {"values": in_mapping(values, parts)}


def _environment(name: str, section: Node) -> Environment:
    return Environment(name, *(text_of(child(section, key)) or None for key in _SERVER))


def _is_free(key: str | int) -> bool:
    """Whether a top-level key holds anchors, which count where they are used."""
    return key == "definitions" or str(key).startswith("x-")


def _section_with(
    document: Document, name: str, beside: Document | None, report: Report
) -> Node | None:
    """The environment as the files say it; None if none does, or in no usable form."""
    section = _section(document, name)
    if section is None and beside is None:
        _report_unknown(document, name, report)
        return None
    if section is not None and not isinstance(section.value, dict):
        wrong = coerce(section.value, ENVIRONMENT)[1]
        document.with_root(section).report_problems(wrong, report)
        return None
    if beside is not None:
        set_file(beside.root, beside.file)
        section = merge_environment(section, beside.root) if section else beside.root
    return section


def _section(document: Document, name: str) -> Node | None:
    """The item of `environments` with this name, else the first whose pattern it matches."""
    listed = document.root.find((_KEY,))
    if listed is None or not isinstance(listed.value, dict):
        return None
    for key in (name, *(key for key in listed.value if "*" in key)):
        if key in listed.value and fnmatch.fnmatchcase(name, key.replace("[", "[[]")):
            node = listed.parts[key]
            return node if node.value is not None else replace(node, value={})
    return None


def _report_unknown(document: Document, name: str, report: Report) -> None:
    listed = document.data.get(_KEY)
    known = list(listed) if isinstance(listed, dict) else []
    if known:
        message = f"{document.file} has no environment '{name}'"
        help_ = " ".join(filter(None, (did_you_mean(name, known), f"It has {quoted(known)}.")))
    else:
        message = f"{document.file} has no environments, so there is no '{name}'"
        help_ = f"Add '{name}' below 'environments:', or create 'prefect.{name}.yaml' beside it."
    report.add("DC140", message, document.spans.key((_KEY,)) if known else None, help=help_)


def _resolved(
    document: Document, section: Node, name: str, environ: Mapping[str, str], report: Report
) -> Node | None:
    """The environment with its `${…}` and `{{ env.… }}` filled in; None if it has errors."""
    section, problems = expand_variables(section, environ)
    values = child(section, "values")
    if values is not None:
        if "name" in values.parts:
            message = "'values.name' cannot be set: it is the name of the environment"
            problems.append(Problem(("values", "name"), "DC142", message, "Rename it."))
        values, unknown = fill_in(values, in_mapping(values, {}), name)
        problems += [each.below(("values",)) for each in unknown]
        section = in_mapping(section, {**section.parts, "values": values})
    others = {key: node for key, node in section.parts.items() if key != "values"}
    filled, unknown = fill_in(in_mapping(section, others), values or in_mapping(section, {}), name)
    problems += unknown
    section = in_mapping(section, {**section.parts, **filled.parts})
    own = replace(document, environment=Environment(name)).with_root(section)
    problems += coerce(section.value, ENVIRONMENT, own.source)[1]
    problems += _wrong_server(section)
    own.report_problems(problems, report)
    return None if any(each.severity is Severity.ERROR for each in problems) else section


def _wrong_server(section: Node) -> Iterator[Problem]:
    """Templates where a name is needed at once, and what is no URL."""
    for key in _SERVER:
        text = text_of(child(section, key)) or ""
        if "{{" in text:
            message = f"'{key}' cannot be resolved: '{text}'"
            yield Problem((key,), "DC133", message, "Write ${NAME} for an environment variable.")
        elif text and key == "api_url" and not _URL.match(text):
            message = "'api_url' must begin with http:// or https://"
            yield Problem((key,), "DC124", message, "Write it as http://127.0.0.1:4200/api.")


def _merged(document: Document, section: Node, values: Node, name: str, report: Report) -> Node:
    """The root of the document with all that the environment changes in its deployments."""
    parts = {key: node for key, node in document.root.parts.items() if key != _KEY}
    listed = parts.get("deployments")
    if listed is not None:
        listed = _filled_but_names(listed, values, name)
    if listed is not None and isinstance(listed.value, list):
        entries = list(listed.parts.values())
        names = [_name(entry) for entry in entries]
        entries = [_with_common(entry, section) for entry in entries]
        for pattern, override in _overrides(section):
            matching = [n for n, each in enumerate(names) if each and _matches(each, pattern)]
            for index in matching:
                entries[index] = merge_entry(entries[index], override)
            if not matching:
                _report_no_deployment(document, section, pattern, list(filter(None, names)), report)
        entries = [_finished(entry, section) for entry in entries]
        parts["deployments"] = in_sequence(listed, entries)
    return in_mapping(document.root, parts)


def _filled_but_names(listed: Node, values: Node, name: str) -> Node:
    """The deployments with the `{{ env.NAME }}` in them filled in, as their values are merged.

    Their names stay as they are written: an environment changes deployments by these. Values that
    the environment lacks stay too, and are reported if nothing replaces them.
    """
    filled, _ = fill_in(listed, values, name)
    if not isinstance(filled.value, list):
        return filled
    entries = []
    for index, entry in filled.parts.items():
        written = listed.find((index, "name"))
        entries.append(in_mapping(entry, {**entry.parts, "name": written}) if written else entry)
    return in_sequence(filled, entries)


def _name(entry: Node) -> str | None:
    return text_of(child(entry, "name"))


def _overrides(section: Node) -> Iterator[tuple[str, Node]]:
    found = child(section, "deployments")
    for pattern, node in found.parts.items() if found else ():
        if isinstance(node.value, dict):
            yield str(pattern), node


def _matches(name: str, pattern: str) -> bool:
    if "*" not in pattern:
        return name == pattern
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def _report_no_deployment(
    document: Document, section: Node, pattern: str, names: list[str], report: Report
) -> None:
    known = list(dict.fromkeys(names))
    own = document.with_root(section)
    report.add(
        "DC141",
        f"the environment changes '{pattern}', and {document.file} has no such deployment",
        own.spans.key(("deployments", pattern)),
        help=did_you_mean(pattern, known) or f"It has {quoted(known) or 'no deployments'}.",
    )


def _with_common(entry: Node, section: Node) -> Node:
    """The entry with what the environment says of all deployments, but for names and tags."""
    if not isinstance(entry.value, dict) or not entry.value:
        return entry
    common: dict[str | int, Node] = {
        key: node
        for key in _MERGED
        if (node := child(section, key)) is not None and node.value is not None
    }
    if (variables := child(section, "job_variables")) and variables.value is not None:
        below = in_mapping(variables, {"job_variables": variables})
        entry = merge_entry(entry, in_mapping(section, {"work_pool": below}))
    return merge_entry(entry, in_mapping(section, common)) if common else entry


def _finished(entry: Node, section: Node) -> Node:
    """The entry with the tags and the names that it has in the environment."""
    if not isinstance(entry.value, dict) or not entry.value:
        return entry
    parts = dict(entry.parts)
    if added := _items(child(section, "tags")):
        present = _items(child(entry, "tags"))
        known = {str(each.value) for each in present}
        more = [each for each in added if str(each.value) not in known]
        parts["tags"] = in_sequence(child(entry, "tags") or added[0], [*present, *more])
    name = _name(entry)
    prefix, suffix = (
        text_of(child(section, f"name_{each}")) or "" for each in ("prefix", "suffix")
    )
    if name and (prefix or suffix):
        parts["name"] = text_node(f"{prefix}{name}{suffix}", parts["name"])
        if former := text_of(child(entry, "renamed_from")):
            flow, slash, old = former.rpartition("/")
            renamed = f"{flow}{slash}{prefix}{old}{suffix}"
            parts["renamed_from"] = text_node(renamed, parts["renamed_from"])
    return in_mapping(entry, parts)


def _items(node: Node | None) -> list[Node]:
    """The nodes of a list, or the only one."""
    if node is None or node.value in (None, ""):
        return []
    return list(node.parts.values()) if isinstance(node.value, list) else [node]
