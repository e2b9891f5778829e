"""Cases of job variables and base job templates, to compare their Jobs with those of Prefect.

Each case is tried on Prefect's template and on ours. Cases in `SAME` must give the same Job, apart
from what all Jobs of ours have; cases in `DIFFERENT` name the intended difference and its reason.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from typing import Any

from deployctl.core.json_values import Json, JsonPath
from deployctl.jobs.job_spec import build_job_spec
from deployctl.jobs.manifest import JobManifest, build_manifest
from deployctl.jobs.model import JobSource
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from tests.support.servers import PREFECT_2, PREFECT_3

VERSIONS = {2: PREFECT_2, 3: PREFECT_3}
SETTINGS = {
    "PREFECT_API_URL": "http://prefect.example.com/api",
    "PREFECT_API_KEY": "the-key",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
}
ENVIRON = {"WORKER_SAYS": "here"}
"""Further environment variables of both workers."""
RUN = "6f7f6a6e-0d5e-4f0e-9a3c-0d7a3f1b2c4d"

BLOCKS: dict[str, Json] = {
    "secret/token": {"value": "s3cret-token"},
    "json/settings": {"value": {"deep": {"list": [1, {"key": "found"}]}, "name": "n"}},
    "docker-registry/main": {"url": "registry.example.com", "user": "u"},
}
VARIABLES: dict[str, Json] = {"image": "python:3.12", "number": 7}

CONTAINER: JsonPath = (
    "job_configuration",
    "job_manifest",
    "spec",
    "template",
    "spec",
    "containers",
    0,
)
POD: JsonPath = CONTAINER[:5]
JOB: JsonPath = CONTAINER[:2]


@dataclass(frozen=True)
class Case:
    """Changes to a plain deployment on a plain pool."""

    id: str
    deployment: dict[str, Json] = field(default_factory=dict)
    run: dict[str, Json] = field(default_factory=dict)
    edits: tuple[tuple[JsonPath, Json], ...] = ()
    """Paths in the template and their new values."""
    names: dict[str, str] = field(default_factory=dict)
    """Other names of run, flow and deployment."""
    majors: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class Different:
    """A case with an intended difference at a path in the manifest."""

    case: Case
    reason: str
    path: JsonPath
    ours: Any
    """Our value; None: no value. Variables of the container by name: {"A": "1"}."""


def source_fields(case: Case) -> dict[str, Json]:
    """The run and related objects, with the fields that both majors share."""
    flow, deployment, pool = (f"{n}0000000-0000-4000-8000-000000000000" for n in "123")
    return {
        "flow_run": {
            "id": RUN,
            "name": case.names.get("run", "comical-skink"),
            "flow_id": flow,
            "deployment_id": deployment,
            "job_variables": case.run,
        },
        "flow": {"id": flow, "name": case.names.get("flow", "hello")},
        "deployment": {
            "id": deployment,
            "name": case.names.get("deployment", "daily"),
            "flow_id": flow,
            "updated": "2026-11-21T15:00:00.123456+00:00",
            "job_variables": case.deployment,
        },
        "work_pool": {
            "id": pool,
            "name": "pool",
            "type": "kubernetes",
            "default_queue_id": flow,
        },
        "worker_name": "Worker 1",
    }


def edited(template: Json, case: Case) -> Json:
    """A copy of a template with the case's edits."""
    template = copy.deepcopy(template)
    for path, value in case.edits:
        reduce(getitem, path[:-1], template)[path[-1]] = value
    return template


def job_of(case: Case, major: int, template: Json) -> JobManifest:
    """Our manifest of a case on a pool with this template."""
    known = source_fields(case)
    known["work_pool"]["base_job_template"] = template
    source = JobSource(**known, attempt="a1", server_version=VERSIONS[major])
    secret = {"fields": {"secret_fields": ["value"]}}
    sources: dict[tuple[PlaceholderKind, tuple[str, ...]], Json] = {
        **{
            (PlaceholderKind.BLOCK, tuple(name.split("/"))): {"data": data, "block_schema": secret}
            for name, data in BLOCKS.items()
        },
        **{
            (PlaceholderKind.VARIABLE, (name,)): {"value": value}
            for name, value in VARIABLES.items()
        },
    }
    library = ReferenceValues(sources, secrets=True)
    return build_manifest(build_job_spec(source, library, environ=ENVIRON, inherited=SETTINGS))


def default(name: str, value: Json) -> tuple[JsonPath, Json]:
    """The edit that changes the default of a variable."""
    return ("variables", "properties", name, "default"), value


SAME = [
    Case("nothing is set"),
    Case("image", {"image": "registry.example.com/app:1"}),
    Case("command", {"command": "python -m app 'two words'"}),
    Case("namespace", {"namespace": "etl"}),
    Case("service account", {"service_account_name": "runner"}),
    Case("pull policy", {"image_pull_policy": "Always"}),
    Case("ttl", {"finished_job_ttl": 300}),
    Case("ttl of the run wins", {"finished_job_ttl": 300}, {"finished_job_ttl": 5}),
    Case("no backoff: reschedule", {"backoff_limit": 0}, majors=(3,)),
    Case("backoff: relinquish", {"backoff_limit": 3}, majors=(3,)),
    Case(
        "sigterm behaviour that is set stays",
        {"env": {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "crash"}},
        majors=(3,),
    ),
    Case("resources", {"cpu_request": "100m", "memory_limit": "1Gi"}, majors=(3,)),
    Case("env", {"env": {"A": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}}),
    Case("env is merged", {"env": {"A": "1", "B": "2"}}, {"env": {"B": "3", "C": "4"}}),
    Case(
        "env under that of the pool",
        {"env": {"A": "1"}},
        edits=(default("env", {"A": "0", "P": "p"}),),
    ),
    Case(
        "null deletes an inherited variable", {"env": {"PREFECT_LOGGING_LEVEL": None}}, majors=(3,)
    ),
    Case(
        "null deletes a variable of the pool",
        {"env": {"P": None}},
        edits=(default("env", {"P": "p"}),),
        majors=(3,),
    ),
    Case("dots", {"env.A": "1", "env.B": "2"}, majors=(3,)),
    Case("dots under a mapping", {"env.A": "1", "env.B": "2", "env": {"B": "3"}}, majors=(3,)),
    Case("dots of the run", {"env.A": "1"}, {"env.A": "2"}, majors=(3,)),
    Case(
        "literal env in the configuration",
        {"env": {"A": "1"}},
        edits=((("job_configuration", "env"), {"A": "0", "L": "l"}),),
    ),
    Case("labels", {"labels": {"team": "Data Eng/µ", "my key/Na me!": "x", "empty": ""}}),
    Case("a label in place of Prefect's", {"labels": {"prefect.io/flow-name": "mine"}}),
    Case("a label that cannot be", {"labels": {"a": "---"}}),
    Case("a long label", {"labels": {"a" * 70: "b" * 62 + "-" + "c" * 9}}),
    Case("labels in the manifest", edits=(((*JOB, "metadata", "labels"), {"own": "Own One"}),)),
    Case(
        "labels and annotations of the pod",
        {"annotations": {"note": "n"}},
        edits=(((*POD[:-1], "metadata"), {"labels": {"p": "q"}, "annotations": {"r": "s"}}),),
        majors=(3,),
    ),
    Case("annotations", {"annotations": {"Weird Key/näme": "any value, é too"}}, majors=(3,)),
    Case("env as a list of names and values", {"env": [{"name": "A", "value": "1"}]}, majors=(3,)),
    Case(
        "env with valueFrom",
        {"env": [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
        majors=(3,),
    ),
    Case(
        "env that the template writes",
        {"env": {"A": "1"}},
        edits=(
            (
                (*CONTAINER, "env"),
                [
                    {"name": "H", "value": "hard"},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ],
            ),
        ),
    ),
    Case("arguments that the template writes", edits=(((*CONTAINER, "args"), ["sh", "-c", "x"]),)),
    Case("a missing variable within text", edits=(((*CONTAINER, "image"), "reg/{{ nope }}:1"),)),
    Case("a missing variable alone", edits=(((*CONTAINER, "workingDir"), "{{ nope }}"),)),
    Case(
        "a missing list item",
        edits=(((*POD, "tolerations"), ["{{ nope }}", {"key": "{{ image_pull_policy }}"}]),),
    ),
    Case(
        "a path into a variable",
        {"labels": {"team": "x"}},
        edits=(((*CONTAINER, "workingDir"), "/{{ labels.team }}"),),
    ),
    Case(
        "a variable of the environment",
        edits=(((*CONTAINER, "workingDir"), "/srv/{{ $WORKER_SAYS }}{{ $NOT_SET }}"),),
    ),
    Case(
        "a value is not looked at again",
        {"image": "{{ namespace }}:1", "env": {"A": "{{ image }}"}},
    ),
    Case("a variable of the server", {"image": "{{ prefect.variables.image }}"}),
    Case("a variable of the server within text", {"image": "r/{{ prefect.variables.image }}"}),
    Case(
        "a variable of the server with its type",
        {"finished_job_ttl": "{{ prefect.variables.number }}"},
    ),
    Case(
        "a variable that the server does not have", {"env": {"A": "[{{ prefect.variables.nope }}]"}}
    ),
    Case("a block", {"env": {"TOKEN": "{{ prefect.blocks.secret.token }}"}}),
    Case(
        "a block in the template",
        edits=(((*CONTAINER, "workingDir"), "{{ prefect.blocks.json.settings.name }}"),),
    ),
    Case(
        "a path into a block", {"env": {"K": "{{ prefect.blocks.json.settings.deep.list[1].key }}"}}
    ),
    Case("a block of several fields", {"image": "{{ prefect.blocks.docker-registry.main.url }}"}),
    Case(
        "a sidecar after the flow",
        edits=(((*CONTAINER[:-1],), [{"name": "prefect-job"}, {"name": "log", "image": "l"}]),),
    ),
    Case(
        "names that are no labels",
        names={"flow": "日本 flow!", "run": "Weird_Name! é #1", "deployment": "Ünï"},
    ),
]

DIFFERENT = [
    Different(
        Case("null is no value", {"image": None}, majors=(3,)),
        "Kubernetes would refuse a container whose image is null",
        (*CONTAINER[2:], "image"),
        "prefecthq/prefect:{version}-python3.11",
    ),
    Different(
        Case("dots on Prefect 2", {"env.A": "1"}, majors=(2,)),
        "Prefect 2 ignores them",
        (*CONTAINER[2:], "env"),
        {"A": "1"},
    ),
    Different(
        Case("dots of the run over a mapping", {"env": {"A": "1"}}, {"env.A": "2"}, majors=(3,)),
        "what the run says wins",
        (*CONTAINER[2:], "env"),
        {"A": "2"},
    ),
    Different(
        Case(
            "a setting that the template writes",
            edits=(((*CONTAINER, "env"), [{"name": "PREFECT_API_URL", "value": "http://in"}]),),
            majors=(3,),
        ),
        "who writes a setting into the container means it; as in Prefect 2",
        (*CONTAINER[2:], "env"),
        {"PREFECT_API_URL": "http://in"},
    ),
    Different(
        Case(
            "capitals in the prefix of a label", {"labels": {"Example.com/Team": "x"}}, majors=(3,)
        ),
        "Kubernetes would refuse them",
        ("metadata", "labels", "example.com/Team"),
        "x",
    ),
    Different(
        Case("ctx in the template", edits=(((*CONTAINER, "workingDir"), "/{{ ctx.flow.name }}"),)),
        "Prefect erases it",
        (*CONTAINER[2:], "workingDir"),
        "/hello",
    ),
    Different(
        Case("ctx in a variable", {"env": {"RUN": "{{ ctx.flow_run.id }}"}}),
        "Prefect fills it in only in the name",
        (*CONTAINER[2:], "env"),
        {"RUN": RUN},
    ),
    Different(
        Case("the environment alone", edits=(((*CONTAINER, "workingDir"), "{{ $NOT_SET }}"),)),
        "as with any placeholder that stands alone and has no value",
        (*CONTAINER[2:], "workingDir"),
        None,
    ),
    Different(
        Case("a renamed container", edits=(((*CONTAINER, "name"), "flow"),)),
        "Prefect refuses it",
        (*CONTAINER[2:], "name"),
        "flow",
    ),
    Different(
        Case(
            "a sidecar before the flow",
            edits=((CONTAINER[:-1], [{"name": "log", "image": "l"}, {"name": "prefect-job"}]),),
        ),
        "Prefect refuses it",
        (*CONTAINER[2:-1], 1, "args"),
        ["prefect", "flow-run", "execute"],
    ),
    Different(
        Case("restarted by the kubelet", edits=(((*POD, "restartPolicy"), "OnFailure"),)),
        "Prefect refuses it",
        (*POD[2:], "restartPolicy"),
        "OnFailure",
    ),
    Different(
        Case(
            "no misplaced fields",
            edits=(
                (
                    (*JOB, "spec"),
                    {
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [{"name": "prefect-job"}],
                            }
                        }
                    },
                ),
            ),
        ),
        "Prefect refuses it",
        (*POD[2:], "restartPolicy"),
        "Never",
    ),
    Different(
        Case(
            "a short manifest",
            edits=((JOB, {"spec": {"template": {"spec": {"containers": [{}]}}}}),),
        ),
        "Prefect refuses it",
        ("kind",),
        "Job",
    ),
]
