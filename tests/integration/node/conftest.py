"""A node that runs pods, for end-to-end tests. It is stopped after the last of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.images import flow_image
from tests.support.cluster.node import Node, lacks
from tests.support.servers import PREFECT_2, PREFECT_3


@pytest.fixture(scope="package")
def node() -> Iterator[Node]:
    """A node with a control plane of its own, and the images `flow:VERSION` of both majors."""
    if reason := lacks():
        pytest.skip(reason)
    images = [flow_image(version) for version in (PREFECT_3, PREFECT_2)]
    with ControlPlane(controllers=["*"]) as plane, Node(plane) as made:
        made.add(*images)
        yield made
