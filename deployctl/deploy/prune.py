"""Deletes of what a project applied earlier and no longer declares. Pure.

A deployment is deleted with its automations, which the server would keep; its schedules, its
concurrency limit and its scheduled runs go with it. A pool is deleted with its queues. A pool's
queue `default` stays as long as the pool: no server deletes it (Prefect 2.20.27 and 3.9.1). A flow
stays, because its deployments and runs would be deleted with it; it only leaves the record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from deployctl.deploy.last_applied import root_of
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import RESOURCE_KINDS

_DEFAULT_QUEUE = "default"


def is_deletable(resource: Resource) -> bool:
    """Whether a client can delete the resource by itself, without its runs if it is a flow."""
    is_default_queue = resource.kind == "work_queue" and resource.key[-1] == _DEFAULT_QUEUE
    return resource.kind != "flow" and not is_default_queue


def deletes(undeclared: Sequence[Resource]) -> tuple[Change, ...]:
    """The changes that delete these resources, in the order in which they are written.

    What is part of another one comes before it, and deployments before the pools that they are in.
    """
    roots = {(each.kind, each.key) for each in undeclared if not _is_part(each)}
    changes = [
        Change(
            root.kind,
            root.key,
            Op.DELETE,
            None,
            root,
            children=tuple(_parts(root, undeclared)),
            notes=tuple(_notes(root)),
        )
        for root in undeclared
        if is_deletable(root) and not (_is_part(root) and root_of(root.kind, root.key) in roots)
    ]
    return tuple(sorted(changes, key=lambda change: -RESOURCE_KINDS[change.kind].rank))


def deleted_keys(changes: Iterable[Change]) -> set[tuple[str, Key]]:
    """Kind and key of each resource that these changes delete, parts included."""
    return {
        (each.kind, each.key)
        for change in changes
        if change.op is Op.DELETE
        for each in (change, *change.children)
    }


def _is_part(resource: Resource) -> bool:
    return bool(RESOURCE_KINDS[resource.kind].parent)


def is_most(deleted: Collection[object], declared: int) -> bool:
    """Whether more than half of `declared` resources are deleted."""
    return 2 * len(deleted) > declared


def _notes(root: Resource) -> Iterator[str]:
    """What the server deletes with a resource."""
    for kind, word in (("schedule", "schedule"), ("work_queue", "queue")):
        if count := sum(child.kind == kind for child in root.children):
            several = count > 1
            yield (f"{f'its {count} {word}s are' if several else f'its {word} is'} deleted with it")


def _parts(root: Resource, undeclared: Sequence[Resource]) -> Iterable[Change]:
    """Deletes of the automations of a deployment; what else is part of a root goes with it."""
    for each in undeclared:
        if each.kind == "automation" and root_of(each.kind, each.key) == (root.kind, root.key):
            yield Change(each.kind, each.key, Op.DELETE, None, each)
