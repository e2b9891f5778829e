"""Moves deployments that `renamed_from` names: what the new one keeps, and the delete of the old.

A rename that was interrupted is told from two deployments of one project by the record: it has
a marker from before the first write until the old deployment is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.load import SelectedDeployment
from deployctl.app.deploying.prepare import with_renames
from deployctl.app.deploying.prepared_plan import PreparedPlan
from deployctl.app.deploying.pruning import with_run_notes
from deployctl.core.diagnostics import Report
from deployctl.deploy.last_applied import LastApplied, read_other_records, rename_marker
from deployctl.deploy.model import Change, Key, Op
from deployctl.project.model import normalize_entrypoint


def rename(
    prepared: Sequence[PreparedPlan], session: Session, report: Report
) -> list[PreparedPlan]:
    """The plans with the deletes of deployments that were renamed.

    What prevents a rename is reported as DC547. Raises ApiError.
    """
    declared = {key for each in prepared for kind, key in each.desired_keys if kind == "deployment"}
    renamed = []
    for each in prepared:
        candidates = list(_candidates(each))
        project = each.loaded.project
        others = run(read_other_records(project), session) if candidates else {}
        renames = {}
        for selected, old in candidates:
            if problem := _problem(each, selected, old, declared, others):
                message, help_ = problem
                report.add(
                    "DC547",
                    f"'{selected.name}' cannot be renamed from '{'/'.join(old)}': {message}",
                    selected.spec.span(("renamed_from",)),
                    help=help_,
                )
            else:
                renames[selected.key] = old
        if renames:
            changed = with_renames(each, renames, session)
            changes = with_run_notes(changed.plan.changes, session)
            each = replace(changed, plan=replace(changed.plan, changes=changes))
        renamed.append(each)
    return renamed


def hint_at_renames(changes: Iterable[Change], report: Report) -> None:
    """Reports deployments that look like a rename without `renamed_from` (DC548).

    One is deleted and one created, and they are the only ones with this entrypoint.
    """
    deleted: dict[str, list[Change]] = defaultdict(list)
    created: dict[str, list[Change]] = defaultdict(list)
    for each in changes:
        resource = each.current if each.op is Op.DELETE else each.desired
        if each.kind == "deployment" and resource and not (each.renamed_to or each.renamed_from):
            entrypoint = normalize_entrypoint(str(resource.fields.get("entrypoint") or ""))
            if each.op is Op.DELETE:
                deleted[entrypoint].append(each)
            elif each.op is Op.CREATE:
                created[entrypoint].append(each)
    for entrypoint in deleted.keys() & created.keys() - {""}:
        (old, *more), (new, *others) = deleted[entrypoint], created[entrypoint]
        if not more and not others:
            report.add(
                "DC548",
                f"'{old.name}' is deleted, and '{new.name}' is created with the same entrypoint",
                help=f"If it is the same deployment, write `renamed_from: {_short(old, new)}` into "
                "its entry: it keeps what was set in the UI.",
            )


def _short(old: Change, new: Change) -> str:
    return old.key[1] if old.key[0] == new.key[0] else old.name


def _candidates(prepared: PreparedPlan) -> Iterator[tuple[SelectedDeployment, Key]]:
    """The deployments whose old one is still on the server, unless they were renamed already."""
    current = {root.key for root in prepared.current if root.kind == "deployment"}
    recorded = prepared.last_applied.resources.get("deployment", {})
    for each in prepared.loaded.selected:
        old = each.renamed_from
        is_known = not each.is_named_by_steps and old in current
        # The name may belong to another one by now.
        is_done = each.key in recorded and old not in recorded
        if is_known and old and not is_done:
            yield each, old


def _problem(
    prepared: PreparedPlan,
    selected: SelectedDeployment,
    old: Key,
    declared: set[Key],
    others: Mapping[str, LastApplied],
) -> tuple[str, str] | None:
    """Why a deployment cannot be renamed, and what to do; None if it can."""
    recorded = prepared.last_applied.resources.get("deployment", {})
    current = {root.key for root in prepared.current if root.kind == "deployment"}
    owner = next((name for name, each in others.items() if each.has("deployment", old)), None)
    if old in declared:
        return "that one is still declared", "Remove its entry, or `renamed_from`."
    if owner:
        return (
            f"that one belongs to the project '{owner}'",
            "Rename it in the file of that project, or remove `renamed_from`.",
        )
    if old not in recorded:
        return (
            "this project did not deploy that one",
            "Deploy it once under its old name, then rename it. Or remove `renamed_from`.",
        )
    if selected.key in current and rename_marker(old) not in recorded.get(selected.key, ()):
        return (
            "both exist on the server",
            "Remove `renamed_from`. `--prune` deletes the old one if it is not declared.",
        )
    return None
