"""Base job templates of the work pools that deployctl creates, one JSON file per pool type.

The templates declare the variables of Prefect's own templates of both majors, so that a deployment
moves between pools without change. Prefect's own workers accept them: its Kubernetes worker demands
`parallelism` and `completions` in the pod's spec, where Kubernetes ignores them, and a first
container called `prefect-job`. The two fields are also set where Kubernetes reads them.

No variable has a default of null: Prefect 2 would write that null into the manifest, and the
cluster would refuse a container whose image is null.
"""

from __future__ import annotations

import json
from importlib import resources

from deployctl.core.json_values import Json

POOL_TYPES = ("kubernetes", "docker", "process")
"""Work pool types whose runs a deployctl worker can execute."""


def base_job_template(pool_type: str) -> Json:
    """A new copy of the template for pools of this type, as sent in a pool's `base_job_template`.

    None for a type that deployctl does not run.
    """
    if pool_type not in POOL_TYPES:
        return None
    return json.loads((resources.files(__package__) / f"templates/{pool_type}.json").read_bytes())
