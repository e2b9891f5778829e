"""One module per kind of resource. A new kind is a new module, and an entry in this registry."""

from __future__ import annotations

from deployctl.deploy.resources.automations import Automations
from deployctl.deploy.resources.base import ResourceKind
from deployctl.deploy.resources.blocks import Blocks
from deployctl.deploy.resources.concurrency_limits import GlobalLimits, TagLimits
from deployctl.deploy.resources.deployments import Deployments
from deployctl.deploy.resources.flows import Flows
from deployctl.deploy.resources.schedules import Schedules
from deployctl.deploy.resources.variables import Variables
from deployctl.deploy.resources.work_pools import WorkPools, WorkQueues

RESOURCE_KINDS: dict[str, ResourceKind] = {
    kind.name: kind
    for kind in (
        Variables(),
        GlobalLimits(),
        TagLimits(),
        Blocks(),
        WorkPools(),
        WorkQueues(),
        Flows(),
        Deployments(),
        Schedules(),
        Automations(),
    )
}
"""By name. Their ranks differ: what one kind may refer to is written before it."""
