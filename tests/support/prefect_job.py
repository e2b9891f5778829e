"""Prints the Job manifests that the real Prefect would create for flow runs.

Run by the Python of an environment with Prefect and prefect-kubernetes: reads cases as JSON; prints
for each the base job template that it used and the manifest or the error.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import copy
import json
import sys
from types import SimpleNamespace
from typing import Any

import prefect
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

MAJOR = int(prefect.__version__.split(".")[0])


class Client:
    """The client of a worker, which answers from a case."""

    def __init__(self, case: Any) -> None:
        self.case = case

    async def read_deployment(self, _: Any) -> Any:
        body = dict(self.case["deployment"])
        if MAJOR < 3:
            body["infra_overrides"] = body.pop("job_variables")
        return DeploymentResponse(**body)

    async def read_flow(self, _: Any) -> Any:
        return Flow(**self.case["flow"])

    async def read_block_document_by_name(self, name: str, block_type_slug: str) -> Any:
        return self._block(f"{block_type_slug}/{name}")

    async def read_block_document(self, block_document_id: Any) -> Any:
        return self._block(str(block_document_id))

    async def read_variable_by_name(self, name: str) -> Any:
        found = self.case["variables"].get(name)
        return None if found is None else SimpleNamespace(value=found)

    def _block(self, name: str) -> Any:
        if name not in self.case["blocks"]:
            raise ObjectNotFound(http_exc=Exception(name))
        return SimpleNamespace(data=copy.deepcopy(self.case["blocks"][name]))


async def manifest(case: Any, template: Any) -> Any:
    client, run = Client(case), FlowRun(**case["flow_run"])
    pool = WorkPool(**case["work_pool"], base_job_template=template)
    if MAJOR >= 3:
        found = await KubernetesWorkerJobConfiguration.resolve_for_flow_run(
            run,
            client=client,
            work_pool=pool,
            worker_name=case["worker_name"],
            deployment=await client.read_deployment(None),
        )
    else:
        worker: Any = SimpleNamespace(
            _client=client, _work_pool=pool, job_configuration=KubernetesWorkerJobConfiguration
        )
        found = await KubernetesWorker._get_configuration(worker, run)
    return found.job_manifest


def template_of(case: Any) -> Any:
    base = case["template"] or KubernetesWorker.get_default_base_job_template()
    template = copy.deepcopy(base)
    for path, value in case["edits"]:
        place = template
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return template


async def answer(case: Any) -> Any:
    template = template_of(case)
    try:
        return {"template": template, "manifest": await manifest(case, copy.deepcopy(template))}
    except Exception as error:
        return {"template": template, "error": f"{type(error).__name__}: {error}"}


async def main() -> None:
    json.dump([await answer(case) for case in json.load(sys.stdin)], sys.stdout)


asyncio.run(main())
