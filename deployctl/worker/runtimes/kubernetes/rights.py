"""What a worker asks of its cluster: the one table for code, manifests, tests and documentation.

Only `JOBS` is needed to work. Without each of the others something is lost that is said there, and
a worker that misses one says so once.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.values import Json


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done with one kind of object."""

    group: str
    """The API group; "" is the core."""
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False
    """It is not bound to a namespace, or wanted in all of them."""

    def rule(self) -> dict[str, Json]:
        """As an entry of a Role's `rules`."""
        return {
            "apiGroups": [self.group],
            "resources": [self.resource],
            "verbs": list(self.verbs),
        }


JOBS = (
    Right("batch", "jobs", ("get", "list", "watch", "create", "delete")),
    Right("", "pods", ("get", "list", "watch")),
    Right("", "pods/log", ("get",)),
)
"""To run jobs: what the official chart's Role has as well."""

SECRETS = (Right("", "secrets", ("create", "patch", "delete")),)
"""For secret values in a Secret; without it they stand in the manifest."""

LEASES = (Right("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""For one replica to observe; without it all do."""

EVENTS = (Right("", "events", ("list",)),)
"""For the reason why a job gets no pod; without it only that it gets none is known."""

IDENTITY = (Right("", "namespaces", ("get",), everywhere=True),)
"""For the uid of kube-system as the cluster's name; without it its authority names it."""
