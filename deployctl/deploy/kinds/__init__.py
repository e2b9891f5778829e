"""One module per kind of object on the server; a new kind is a new module and a line here."""

from __future__ import annotations

from deployctl.deploy.kinds.automations import Automations
from deployctl.deploy.kinds.base import Kind
from deployctl.deploy.kinds.deployments import Deployments
from deployctl.deploy.kinds.schedules import Schedules
from deployctl.deploy.kinds.work_pools import WorkPools, WorkQueues

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (WorkPools(), WorkQueues(), Deployments(), Schedules(), Automations())
}
