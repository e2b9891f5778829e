"""Flows with tags or labels, as declared under `flows:`.

A deployment creates its flow if need be; what is here is only what no deployment says. A flow is
never deleted: the server would delete its deployments and runs with it. The API has no update of
labels (2.20.27 to 3.9.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.resources.base import ResourceKind, body, current_resource
from deployctl.project.comparisons import same_set
from deployctl.project.resources import accepted

_FIXED = "the labels of a flow that exists cannot be changed through the API and stay as they are"


class Flows(ResourceKind):
    """Keyed by name."""

    name = "flow"
    depth = 1
    rank = 6

    def annotate(self, change: Change, dialect: Dialect) -> Change:  # noqa: ARG002
        """Leaves out labels that would have to change."""
        fields = tuple(part for part in change.fields if part.field != "labels")
        if change.op is not Op.UPDATE or len(fields) == len(change.fields):
            return change
        op = Op.UPDATE if fields else Op.NONE
        return replace(change, op=op, fields=fields, notes=(*change.notes, _FIXED))

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """One listing for all."""
        names = sorted(each.key[0] for each in desired)
        if not names:
            return []
        found = yield from pages(paths.FLOWS, {"flows": {"name": {"any_": names}}}, len(names))
        return [current_resource(self.name, (each["name"],), each, dialect) for each in found]

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates the flow, or patches its tags; a POST leaves a flow that exists as it is."""
        sent = body(change)
        if change.current is not None:
            identity, has_tags = change.current.id, False
        else:
            new = {"name": change.key[0], **accepted(dialect, self.name, sent)}
            answer = yield from call(Request("POST", paths.FLOWS, new, subject=change.title))
            identity, has_tags = answer["id"], same_set(sent.get("tags"), answer.get("tags"))
        if "tags" in sent and not has_tags:
            tags = {"tags": sent["tags"]}
            yield [Request("PATCH", paths.flow(identity), tags, subject=change.title)]
        return str(identity)
