"""What a worker asks of its cluster: the one table for code, manifests, tests and documentation.

Only `JOBS` is needed to work. Without each of the others something is lost that is said there, and
a worker that misses one says so once.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class Rule:
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
    Rule("batch", "jobs", ("get", "list", "watch", "create", "delete")),
    Rule("", "pods", ("get", "list", "watch")),
    Rule("", "pods/log", ("get",)),
)
"""To run jobs: what the official chart's Role has as well."""

SECRETS = (Rule("", "secrets", ("create", "patch", "delete")),)
"""For secret values in a Secret; without it they stand in the manifest."""

LEASES = (Rule("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""For one replica to observe; without it all do."""

EVENTS = (Rule("", "events", ("list",)),)
"""For the reason why a job gets no pod; without it only that it gets none is known."""

IDENTITY = (Rule("", "namespaces", ("get",), everywhere=True),)
"""For the uid of kube-system as the cluster's name; without it its authority names it."""
