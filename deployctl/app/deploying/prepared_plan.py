"""A plan with what is needed to apply it, and what it deletes: what is renamed or undeclared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.build_steps import BuildPlan
from deployctl.app.deploying.desired_state import PlanInputs, PoolInfo
from deployctl.app.deploying.load import LoadedProject
from deployctl.deploy.last_applied import LastApplied, root_of
from deployctl.deploy.model import Key, Plan, Resource
from deployctl.deploy.prune import deleted_keys, deletes
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.steps.model import Step
from deployctl.templating.grammar import PlaceholderKind

NO_POOLS: Mapping[str, PoolInfo] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, and what is needed to apply it or to make it again."""

    loaded: LoadedProject
    plan: Plan
    last_applied: LastApplied
    dialect: Dialect
    inputs: PlanInputs
    declared: tuple[Resource, ...]
    """The desired resources other than deployments: work pools, variables, …"""
    current: tuple[Resource, ...]
    build_plan: BuildPlan
    create_pools: bool = False
    before: Mapping[str, PoolInfo] = field(default_factory=lambda: NO_POOLS)
    desired: tuple[Resource, ...] = ()
    """What the plan was made from; empty if errors prevented it."""
    prune: bool = False
    """Whether what is no longer declared is deleted."""
    elsewhere: Mapping[tuple[str, Key], str] = field(default_factory=dict)
    """What the other files of the command declare → their project."""
    taken_over: Mapping[str, LastApplied] = field(default_factory=dict)
    """Project → the part of its record that moves to this project."""
    renames: Mapping[Key, Key] = field(default_factory=dict)
    """Deployment → the one that it replaces, which is still on the server."""
    rename_notes: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    """Deployment that is created for that → what the plan says about it."""

    @property
    def desired_keys(self) -> set[tuple[str, Key]]:
        """Kind and key of each resource that the file declares or references."""
        roots = (*self.declared, *self.desired)
        deployments = {("deployment", each.key) for each in self.loaded.selected}
        queues = {
            ("work_queue", (str(pool), str(queue)))
            for root in roots
            if (pool := root.fields.get("work_pool_name"))
            and (queue := root.fields.get("work_queue_name"))
        }
        resources = (each for root in roots for each in (root, *root.children))
        return deployments | queues | self._used | {(each.kind, each.key) for each in resources}

    @property
    def _used(self) -> set[tuple[str, Key]]:
        """The recorded blocks and variables that deployments reference."""
        return set(self.last_applied.roots()) & {
            ("block" if kind is PlaceholderKind.BLOCK else "variable", source)
            for kind, source in self.inputs.references.sources
        }

    @property
    def steps(self) -> dict[str, Sequence[Step]]:
        """The build and push steps to run, by deployment."""
        return self.loaded.steps if self.build_plan.runs_steps else {}


def with_undeclared(prepared: PreparedPlan) -> PreparedPlan:
    """`prepared` with a plan that deletes what was renamed, and what is undeclared if it prunes.

    Without `--prune` it lists what the project applied earlier and no longer declares.
    """
    changes, renamed = prepared.plan.without_deletes().changes, list(_renamed(prepared))
    moved = {(each.kind, each.key) for each in renamed}
    undeclared = [each for each in _undeclared(prepared) if (each.kind, each.key) not in moved]
    removed = deletes([*renamed, *(undeclared if prepared.prune else ())])
    new_names = {old: new for new, old in prepared.renames.items()}
    removed = tuple(
        replace(each, renamed_to=new, notes=(f"renamed to '{'/'.join(new)}'", *each.notes))
        if each.kind == "deployment" and (new := new_names.get(each.key))
        else each
        for each in removed
    )
    gone = deleted_keys(removed)
    stay = tuple(
        each
        for each in undeclared
        if not gone & {(each.kind, each.key), root_of(each.kind, each.key)}
    )
    forgotten = _forgotten(prepared) if prepared.prune else frozenset()
    return replace(prepared, plan=Plan((*changes, *removed), stay, forgotten))


def _renamed(prepared: PreparedPlan) -> Iterator[Resource]:
    """The deployments that others replace, with the automations that were recorded for them."""
    olds, recorded = set(prepared.renames.values()), prepared.last_applied.everything
    for root in prepared.current:
        if root.kind == "deployment" and root.key in olds:
            yield root
            for child in root.children:
                if child.kind == "automation" and (child.kind, child.key) in recorded:
                    yield child


def _forgotten(prepared: PreparedPlan) -> frozenset[tuple[str, Key]]:
    """What the record has although it is gone, or another project of the command declares it."""
    if not is_whole(prepared):
        return frozenset()
    project, roots = prepared.loaded.project, set(prepared.last_applied.roots())
    current = {
        (each.kind, each.key) for root in prepared.current for each in (root, *root.children)
    }
    pools = {root.key for root in prepared.current if root.kind == "work_pool"}
    queues = {
        (kind, key)
        for kind, key in prepared.last_applied.everything - roots
        if kind == "work_queue" and key[:1] in pools
    }
    return frozenset(
        each
        for each in (roots | queues) - prepared.desired_keys
        if prepared.elsewhere.get(each, project) != project
        or each[0] == "flow"
        or (each not in current and each not in prepared.elsewhere)
    )


def is_whole(prepared: PreparedPlan) -> bool:
    """Whether it is known what the project declares: the whole file, and all names."""
    loaded = prepared.loaded
    return loaded.selects_all and not loaded.leaves_out and not loaded.is_named_by_steps


def _undeclared(prepared: PreparedPlan) -> tuple[Resource, ...]:
    """What an earlier apply of the project declared, the server has, and no file declares now.

    With the queues of work pools and the automations of deployments that are not declared. Empty if
    only some of the file's deployments are selected or valid, or some are named after the build.
    """
    if not is_whole(prepared):
        return ()
    roots, parts = set(prepared.last_applied.roots()), prepared.last_applied.parts()
    desired = prepared.desired_keys | prepared.elsewhere.keys()
    found = []
    for root in prepared.current:
        identity = (root.kind, root.key)
        if identity in roots and identity not in desired:
            found.append(root)
        recorded = {(part.kind, part.key) for part in parts.get(identity, ())} - desired
        found += [
            child
            for child in root.children
            if (child.kind, child.key) in recorded
            and (RESOURCE_KINDS[child.kind].stays or identity not in desired)
            and child.kind != "schedule"
        ]
    return tuple(sorted(found, key=lambda each: (RESOURCE_KINDS[each.kind].rank, each.key)))
