"""What a worker may do in a cluster: the only list of its permissions.

Manifests are made from it, and a test compares it with docs/worker.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployctl.core.json_values import Json


class Scope(StrEnum):
    """Where a permission is needed."""

    JOBS = "jobs"
    """In each namespace with Jobs."""
    WORKER = "worker"
    """In the worker's own namespace."""
    CLUSTER = "cluster"
    """In the whole cluster: only a ClusterRole can grant it."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one kind of object."""

    group: str
    """API group; "" is the core group."""
    resource: str
    verbs: tuple[str, ...]
    scope: Scope = Scope.JOBS

    def rule(self) -> Json:
        """The rule of a Role or ClusterRole."""
        return {
            "apiGroups": [self.group],
            "resources": [self.resource],
            "verbs": list(self.verbs),
        }


PERMISSIONS = (
    Permission("batch", "jobs", ("get", "list", "watch", "create", "delete")),
    Permission("", "pods", ("get", "list", "watch")),
    Permission("", "pods/log", ("get",)),
    Permission("", "secrets", ("create", "patch", "delete", "list")),
    Permission("", "events", ("list",)),
    Permission("coordination.k8s.io", "leases", ("get", "create", "update"), Scope.WORKER),
    Permission("", "namespaces", ("get",), Scope.CLUSTER),
)
"""Only jobs and pods are indispensable; docs/worker.md says what is missing without the others."""
