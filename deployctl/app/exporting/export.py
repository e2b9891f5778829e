"""Writes a prefect.yaml that declares what a server has, so that a plan of it says "no changes".

The code of the flows is read where it is there, never run: it says which fields need no key. What
the file can't say is left out of it, so that a deploy leaves it alone on the server; a comment and
a diagnostic say what that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.app.exporting.checks import EntryChecks
from deployctl.app.exporting.reading import ServerState
from deployctl.app.exporting.secrets import Secrets
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.core.suggest import shortened
from deployctl.deploy.export import (
    deployment_entry,
    looks_inferred,
    shared_pull,
    variables_in,
)
from deployctl.deploy.model import Resource
from deployctl.flows.inspect import inspect_flows
from deployctl.flows.metadata import OPEN_SCHEMA, FlowMetadata
from deployctl.project import keys
from deployctl.project.comparisons import same_mapping, same_text
from deployctl.project.model import normalize_entrypoint
from deployctl.project.yaml_text import comment_lines, item_lines, mapping_lines, yaml_lines

_NEEDED = frozenset({"name", "entrypoint", "pull"})
"""Keys without which an entry would mean something else."""
_ABOVE = ""
"""In place of a key: the comment stands above the whole entry."""
_MAX_NAMES = 10


@dataclass(slots=True)
class _Entry:
    """An entry of the file in the making."""

    current: Resource
    values: dict[str, Json]
    comments: dict[str, list[str]] = field(default_factory=dict)

    def comment(self, key: str, text: str) -> None:
        """Adds a comment above a key."""
        self.comments.setdefault(key, []).append(redact(text))

    @property
    def lines(self) -> list[str]:
        """The lines of the entry in the list."""
        first, *rest = self.values.items()
        comments = dict(self.comments)
        above = comments.pop(_ABOVE, [])
        lines = [*mapping_lines(dict([first])), *mapping_lines(dict(rest), comments)]
        return item_lines(lines, above)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """The text of a file, and what it needs."""

    text: str
    deployments: tuple[str, ...]
    """`FLOW/NAME` of each entry."""
    left_out: tuple[str, ...]
    """`FLOW/NAME` of each deployment without an entry."""
    variables: tuple[str, ...]
    """Environment variables that stand for secrets: plan and deploy need them."""


def export(state: ServerState, project: str, folder: Path, report: Report) -> ExportedFile:
    """The file for the deployments of a server, whose folder will be `folder`.

    Reports what has no entry (DC550), what an entry leaves out (DC551), which variables are needed
    (DC552), and where the code of a flow differs (DC553).
    """
    secrets = Secrets()
    checks = EntryChecks(state.dialect, state.pools, secrets.values)
    code = _read_code(state.deployments, folder)
    entries, skipped = [], []
    taken: dict[tuple[str, str], str] = {}
    for current in state.deployments:
        reason = _no_entry(current) or _same_entry(current, taken)
        facts = code.get(str(current.fields["entrypoint"]))
        entry = None
        if not reason:
            entry, reason = _entry(current, facts, state, secrets, checks)
        if entry is None:
            skipped.append((current, reason))
            report.add("DC550", f"the deployment '{current.name}' is not exported: {reason}")
        else:
            _report(entry, report)
            _comment_variables(entry, secrets)
            _compare_code(entry, facts, report)
            entries.append(entry)
    needed = _needed(entries, secrets)
    _report_needed(needed, report)
    missing = [each for each in entries if str(each.values["entrypoint"]) not in code]
    text = _text(project, entries, skipped, needed, missing)
    return ExportedFile(
        text,
        tuple(each.current.name for each in entries),
        tuple(current.name for current, _ in skipped),
        tuple(needed),
    )


def _read_code(deployments: Sequence[Resource], folder: Path) -> dict[str, FlowMetadata]:
    """What the code in the folder says, by entrypoint, as far as its text says it."""
    names = {
        str(each.fields["entrypoint"]): each.key[0]
        for each in deployments
        if each.fields["entrypoint"]
    }
    found = inspect_flows(dict.fromkeys(names), folder, Report(), flow_names=names, imports=False)
    return {
        entrypoint: facts
        for entrypoint, facts in found.items()
        if not facts.unknown and facts.parameter_schema != OPEN_SCHEMA
    }


def _no_entry(current: Resource) -> str:
    """Why a deployment can't have an entry at all; "" if it can."""
    if not current.fields["entrypoint"]:
        return "it has no entrypoint"
    if not current.fields["work_pool_name"]:
        return "it has no work pool; a process serves it, or nothing runs it"
    return ""


def _same_entry(current: Resource, taken: dict[tuple[str, str], str]) -> str:
    """Why an entry would repeat another: the flow of an entrypoint has one name in the code."""
    key = (normalize_entrypoint(str(current.fields["entrypoint"])), current.key[1])
    first = taken.setdefault(key, current.name)
    return "" if first == current.name else f"'{first}' has the same entrypoint and name"


def _entry(
    current: Resource,
    facts: FlowMetadata | None,
    state: ServerState,
    secrets: Secrets,
    checks: EntryChecks,
) -> tuple[_Entry | None, str]:
    """The entry of a deployment, or why it has none."""
    exported = deployment_entry(current, state.dialect)
    values = _with_code(exported.values, current, facts)
    entry = _Entry(current, _in_order(secrets.replace(values)))
    while found := checks.differences(entry.values, current, facts):
        for key, reason in found.items():
            if key in _NEEDED or not _drop(entry, key):
                return None, f"'{key}' cannot be written: {reason}"
            entry.comment(key, f"{key}: not written, and kept as on the server, because {reason}")
    for key, reasons in exported.left_out.items():
        for reason in reasons:
            entry.comment(key, reason)
    return entry, ""


def _in_order(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: values[name] for name in keys.DEPLOYMENT.keys if name in values}


def _drop(entry: _Entry, key: str) -> bool:
    """Removes what a key says; of a work pool, its job variables. False if nothing is left to."""
    if key == "work_pool":
        pool = dict(entry.values[key])
        if pool.pop("job_variables", None) is None:
            return False
        entry.values[key] = pool
        return True
    return entry.values.pop(key, None) is not None


def _with_code(
    values: Mapping[str, Json], current: Resource, facts: FlowMetadata | None
) -> dict[str, Json]:
    """The entry without what the code says, and with what keeps the code from saying it."""
    if facts is None:
        return dict(values)
    found = dict(values)
    if facts.name == current.key[0]:
        found.pop("flow_name", None)
    if same_text(values.get("description"), facts.description):
        found.pop("description", None)
    elif "description" not in values:
        found["description"] = ""
    version = current.fields.get("version")
    if version and "version" not in values and not looks_inferred(facts.version):
        found["version"] = version
    return found


def _report(entry: _Entry, report: Report) -> None:
    for texts in entry.comments.values():
        for text in texts:
            report.add("DC551", f"the deployment '{entry.current.name}': {text}")


def _comment_variables(entry: _Entry, secrets: Secrets) -> None:
    """Says which environment variables must be set, and which of a run's own must not be."""
    for key, value in entry.values.items():
        named = variables_in(value)
        if needed := [f"${name}" for name in named if name in secrets.values]:
            entry.comment(key, f"From the environment of plan and deploy: {', '.join(needed)}")
        kept = [f"${name}" for name in named if name not in secrets.values]
        if kept and key == "pull":
            entry.comment(key, f"Unset where plan and deploy run: {', '.join(kept)}")


def _compare_code(entry: _Entry, facts: FlowMetadata | None, report: Report) -> None:
    """Reports where the code differs from the server, which the first plan will show (DC553)."""
    flow, _ = entry.current.key
    if facts is None:
        return
    reason = ""
    if facts.name != flow:
        reason = f"the code names the flow '{facts.name}', so it would be another deployment"
    elif not same_mapping(facts.parameter_schema, entry.current.fields["parameter_openapi_schema"]):
        reason = "the flow has other parameters in the code, and a deploy updates their schema"
    elif "version" not in entry.values and facts.version and not looks_inferred(facts.version):
        reason = f"the code has the version '{facts.version}', which a deploy sets"
    if reason:
        entry.comment(_ABOVE, reason)
        report.add("DC553", f"the deployment '{entry.current.name}': {reason}")


def _needed(entries: Sequence[_Entry], secrets: Secrets) -> list[str]:
    """The variables that stand for secrets in the file; what is left out of it needs none."""
    return sorted(
        {name for each in entries for name in variables_in(each.values)} & secrets.values.keys()
    )


def _report_needed(needed: Sequence[str], report: Report) -> None:
    if needed:
        listed = shortened([f"${name}" for name in needed], _MAX_NAMES)
        report.add(
            "DC552",
            f"values that look like secrets are not in the file; it needs {listed}",
            help="Set these environment variables where you run plan and deploy.",
        )


def _text(
    project: str,
    entries: Sequence[_Entry],
    skipped: Sequence[tuple[Resource, str]],
    needed: Sequence[str],
    missing: Sequence[_Entry],
) -> str:
    """The whole file."""
    lines = [*yaml_lines({"name": project})]
    if missing:
        files = sorted({str(each.values["entrypoint"]) for each in missing})
        lines += comment_lines(
            [
                "plan and deploy read the code of the flows. Put this file into the folder where",
                f"the entrypoints start. Code that was not read: {shortened(files, _MAX_NAMES)}",
            ]
        )
    lines.append("")
    pull = shared_pull(each.values for each in entries)
    if pull is not None:
        own = [each.comments.pop("pull", []) for each in entries]
        lines += [*mapping_lines({"pull": pull}, {"pull": own[0]}), ""]
        for each in entries:
            del each.values["pull"]
    lines.append("deployments:" if entries else "deployments: []")
    for each in entries:
        lines += [f"  {line}" if line else "" for line in each.lines]
    lines += _notes(skipped, needed)
    return "\n".join(lines) + "\n"


def _notes(skipped: Sequence[tuple[Resource, str]], needed: Sequence[str]) -> Iterator[str]:
    """The comments at the end: deployments without an entry, and the needed variables."""
    if skipped:
        yield ""
        yield from comment_lines(["Not exported:"])
        yield from comment_lines(f"- {each.name}: {redact(reason)}" for each, reason in skipped)
    if needed:
        yield ""
        yield from comment_lines(["Environment variables that plan and deploy need:"])
        yield from comment_lines(f"- {name}" for name in needed)
