"""RBAC rules of a worker: the one table for code, manifests, tests and documentation.

Only `JOBS` is required. Without each of the others, the feature that its docstring names is lost,
and the worker logs that once.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class Rule:
    """The verbs that the worker needs on one resource."""

    group: str
    """API group; "" is the core group."""
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False
    """The resource is not namespaced, or is needed in all namespaces."""

    def rule(self) -> dict[str, Json]:
        """The rule as an item of a Role's `rules`."""
        return {
            "apiGroups": [self.group],
            "resources": [self.resource],
            "verbs": list(self.verbs),
        }


JOBS = (
    Rule("batch", "jobs", ("get", "list", "watch", "create", "delete")),
    Rule("", "pods", ("get", "list", "watch")),
    Rule("", "pods/log", ("get",)),
)
"""Run jobs. The official chart's Role has the same."""

SECRETS = (Rule("", "secrets", ("create", "patch", "delete", "list")),)
"""Store secret values in a Secret; otherwise they are in the manifest. `list` alone may be missing:
Secrets whose Jobs never came are then kept."""

LEASES = (Rule("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""Elect one replica that observes; otherwise all of them do."""

EVENTS = (Rule("", "events", ("list",)),)
"""Report why a job gets no pod; otherwise only that it gets none is known."""

IDENTITY = (Rule("", "namespaces", ("get",), everywhere=True),)
"""Identify the cluster by the uid of kube-system; otherwise by its certificate authority."""

IN_JOB_NAMESPACES = (*JOBS, *SECRETS, *EVENTS)
"""In each namespace with Jobs."""

IN_OWN_NAMESPACE = LEASES
"""In the worker's own namespace."""
