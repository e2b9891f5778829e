"""A real API server accepts our Jobs and knows all their fields."""

from __future__ import annotations

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.support.cluster.api import Refused
from tests.support.cluster.cluster import Cluster
from tests.support.job_cases import DIFFERENT, SAME, Case, edited, job_of

NO_LABEL = "a label that cannot be"
CASES = [case for case in [*SAME, *(d.case for d in DIFFERENT)] if case.id != NO_LABEL]


def _dry_run(api: Cluster, namespace: str, case: Case, major: int) -> None:
    """Create the Job in a dry run; raises Refused if the API server refuses it."""
    job = job_of(case, major, edited(base_job_template("kubernetes"), case)).job
    job["metadata"]["namespace"] = namespace
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs?dryRun=All&fieldValidation=Strict"
    api.admin.request("POST", path, job)


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_api_server_accepts_the_job(
    control_plane: Cluster, namespace: str, case: Case, major: int
) -> None:
    _dry_run(control_plane, namespace, case, major)


def test_invalid_label_is_left_to_the_cluster(control_plane: Cluster, namespace: str) -> None:
    case = next(case for case in SAME if case.id == NO_LABEL)
    with pytest.raises(Refused, match="labels"):
        _dry_run(control_plane, namespace, case, 3)
