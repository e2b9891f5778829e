"""Paths of the Prefect API, below the API URL.

Names are quoted here and nowhere else: a work pool may be called `team/a b`.
"""

from __future__ import annotations

from urllib.parse import quote

FLOWS = "/flows/"
FLOW_RUNS = "/flow_runs/"
FLOW_RUN_STATES = "/flow_run_states/"
DEPLOYMENTS = "/deployments/"
AUTOMATIONS = "/automations/"
ARTIFACTS = "/artifacts/"
LOGS = "/logs/"
VARIABLES = "/variables/"
GLOBAL_LIMITS = "/v2/concurrency_limits/"
TAG_LIMITS = "/concurrency_limits/"
WORK_POOLS = "/work_pools/"
WORK_QUEUES = "/work_queues/"
BLOCK_TYPES = "/block_types/"
BLOCK_SCHEMAS = "/block_schemas/"
BLOCK_DOCUMENTS = "/block_documents/"
"""Collections: POST to one creates an object."""


FLOW_RUN_COUNT = "/flow_runs/count"
"""POST of a filter: how many flow runs match it."""


def listing(collection: str) -> str:
    """The filter endpoint of a collection: `/flows/filter`."""
    return f"{collection.rstrip('/')}/filter"


def flow(flow_id: str) -> str:
    """A flow by its id."""
    return f"{FLOWS}{flow_id}"


def flow_run(run_id: str) -> str:
    """A flow run by its id."""
    return f"{FLOW_RUNS}{run_id}"


def flow_run_states(run_id: str) -> str:
    """All states of a flow run."""
    return f"{FLOW_RUN_STATES}?flow_run_id={run_id}"


def deployment(deployment_id: str) -> str:
    """A deployment by its id."""
    return f"{DEPLOYMENTS}{deployment_id}"


def deployment_by_name(flow_name: str, name: str) -> str:
    """A deployment by the names of its flow and its own."""
    return f"{DEPLOYMENTS}name/{_quoted(flow_name)}/{_quoted(name)}"


def variable(variable_id: str) -> str:
    """A variable by its id."""
    return f"{VARIABLES}{variable_id}"


def variable_by_name(name: str) -> str:
    """A variable by its name."""
    return f"{VARIABLES}name/{_quoted(name)}"


def global_limit(name: str) -> str:
    """A global concurrency limit by its name."""
    return f"{GLOBAL_LIMITS}{_quoted(name)}"


def tag_limit(tag: str) -> str:
    """The concurrency limit of a tag."""
    return f"{TAG_LIMITS}tag/{_quoted(tag)}"


def schedules(deployment_id: str) -> str:
    """The schedules of a deployment."""
    return f"{deployment(deployment_id)}/schedules"


def schedule(deployment_id: str, schedule_id: str) -> str:
    """One schedule of a deployment."""
    return f"{schedules(deployment_id)}/{schedule_id}"


def automation(automation_id: str) -> str:
    """An automation by its id."""
    return f"{AUTOMATIONS}{automation_id}"


def artifact(artifact_id: str) -> str:
    """One version of an artifact by its id."""
    return f"{ARTIFACTS}{artifact_id}"


def latest_artifact(key: str) -> str:
    """The newest version of an artifact."""
    return f"{ARTIFACTS}{key}/latest"


def work_pool(name: str) -> str:
    """A work pool by its name."""
    return f"{WORK_POOLS}{_quoted(name)}"


def work_queues(pool: str) -> str:
    """The queues of a work pool."""
    return f"{work_pool(pool)}/queues/"


def work_queue(pool: str, name: str) -> str:
    """A queue of a work pool."""
    return f"{work_queues(pool)}{_quoted(name)}"


def workers(pool: str) -> str:
    """The workers of a work pool."""
    return f"{work_pool(pool)}/workers/"


def block_type(slug: str) -> str:
    """A type of blocks by its slug."""
    return f"{BLOCK_TYPES}slug/{_quoted(slug)}"


def block(type_slug: str, name: str) -> str:
    """A block by the slug of its type and its name."""
    return f"{block_type(type_slug)}/block_documents/name/{_quoted(name)}"


def block_document(block_id: str) -> str:
    """A block by its id."""
    return f"{BLOCK_DOCUMENTS}{_quoted(block_id)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
