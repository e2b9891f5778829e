"""A real API server takes the Jobs that we make, and knows all of their fields."""

from __future__ import annotations

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.support.cluster.api import Refused
from tests.support.cluster.cluster import Cluster
from tests.support.job_cases import DIFFERENT, SAME, Case, edited, job_of

NO_LABEL = "a label that cannot be"
CASES = [case for case in [*SAME, *(d.case for d in DIFFERENT)] if case.id != NO_LABEL]


def _offer(api: Cluster, namespace: str, case: Case, major: int) -> None:
    """Asks the API server whether it would create the Job; raises Refused where it would not."""
    job = job_of(case, major, edited(base_job_template("kubernetes"), case)).job
    job["metadata"]["namespace"] = namespace
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs?dryRun=All&fieldValidation=Strict"
    api.admin.request("POST", path, job)


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_api_server_takes_the_job(
    control_plane: Cluster, namespace: str, case: Case, major: int
) -> None:
    _offer(control_plane, namespace, case, major)


def test_a_label_that_cannot_be_is_left_for_the_cluster_to_tell(
    control_plane: Cluster, namespace: str
) -> None:
    case = next(case for case in SAME if case.id == NO_LABEL)
    with pytest.raises(Refused, match="labels"):
        _offer(control_plane, namespace, case, 3)
