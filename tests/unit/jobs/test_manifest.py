from __future__ import annotations

import json
from typing import Any

import pytest

from deployctl.core.json_values import Json, leaves
from deployctl.jobs.manifest import JobManifest, SecretMode, SecretPolicy, build_manifest
from deployctl.jobs.model import EXECUTE_COMMAND, InvalidJobSpec
from tests.unit.jobs.job_sources import job_spec, manifest_template, pod_of

OURS = {
    "deployctl.io/pool-id": "pool-1",
    "deployctl.io/run-id": "run-1",
    "deployctl.io/attempt": "attempt-1",
}


def of(manifest: Json, deployment: Json = None, **changes: Any) -> JobManifest:
    """What becomes of a pool's job manifest."""
    configuration = {"env": "{{ env }}", "labels": "{{ labels }}", "annotations": "{{ notes }}"}
    template = manifest_template(manifest, **configuration)
    return build_manifest(job_spec(deployment or {}, template=template, **changes))


def container(manifest: JobManifest, index: int = 0) -> Json:
    return manifest.job["spec"]["template"]["spec"]["containers"][index]


def variables(manifest: JobManifest) -> dict[str, Json]:
    """The container's variables: their text, or where it comes from."""
    return {
        item["name"]: item.get("value", item.get("valueFrom"))
        for item in container(manifest)["env"]
    }


def test_minimal_manifest_is_completed() -> None:
    made = of(pod_of(image=None))
    assert made.job["apiVersion"] == "batch/v1"
    assert made.job["kind"] == "Job"
    assert made.job["metadata"]["name"] == made.name
    assert made.job["metadata"]["namespace"] == made.namespace == "default"
    assert made.job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert container(made)["name"] == "prefect-job"
    assert container(made)["image"] == "prefecthq/prefect:3.8.8-python3.11"
    assert container(made)["args"] == list(EXECUTE_COMMAND)
    assert made.secret is None


@pytest.mark.parametrize(
    ("metadata", "configuration", "namespace"),
    [
        ({"namespace": "a"}, {"namespace": "b"}, "a"),
        ({}, {"namespace": "b"}, "b"),
        ({}, {}, "own"),
    ],
)
def test_namespace(metadata: Json, configuration: Json, namespace: str) -> None:
    template = manifest_template({"metadata": metadata, **pod_of()}, **configuration)
    made = build_manifest(job_spec(template=template), namespace="own")
    assert made.namespace == made.job["metadata"]["namespace"] == namespace


def test_fixed_name_is_used_as_prefix() -> None:
    made = of({"metadata": {"name": "fixed", "generateName": "x-"}, **pod_of()})
    assert made.job["metadata"]["name"].startswith("fixed-")
    assert "generateName" not in made.job["metadata"]


def test_no_null_reaches_the_cluster() -> None:
    manifest = pod_of(image=None, resources={"limits": {"cpu": None}}, ports=[None])
    manifest["spec"] |= {"ttlSecondsAfterFinished": None, "suspend": False}
    made = of(manifest)
    assert all(leaf is not None for _, leaf in leaves(made.job))
    assert made.job["spec"]["suspend"] is False


def test_misplaced_fields_are_removed() -> None:
    manifest = pod_of()
    manifest["spec"]["template"]["spec"] |= {"parallelism": 1, "completions": 1}
    pod = of(manifest).job["spec"]["template"]["spec"]
    assert not pod.keys() & {"parallelism", "completions"}


def test_main_container_among_others() -> None:
    manifest = pod_of(name="log", image="l")
    manifest["spec"]["template"]["spec"]["containers"].append({"name": "prefect-job"})
    made = of(manifest)
    assert container(made) == {"name": "log", "image": "l"}
    assert container(made, 1)["args"] == list(EXECUTE_COMMAND)
    assert container(of(pod_of(name="renamed")))["name"] == "renamed"


@pytest.mark.parametrize(
    ("manifest", "where"),
    [
        (None, "job_manifest"),
        ([], "job_manifest"),
        ({}, "job_manifest.spec"),
        ({"spec": {"template": {"spec": {}}}}, "containers"),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "containers"),
        ({"spec": {"template": {"spec": {"containers": ["x"]}}}}, r"containers\[0\]"),
        ({"kind": "CronJob", **pod_of()}, "job_manifest.kind"),
        ({"apiVersion": "v1", **pod_of()}, "job_manifest.apiVersion"),
        ({"metadata": "x", **pod_of()}, "job_manifest.metadata"),
        ({"metadata": {"labels": ["x"]}, **pod_of()}, "job_manifest.metadata.labels"),
    ],
)
def test_invalid_manifest_is_reported(manifest: Json, where: str) -> None:
    with pytest.raises(InvalidJobSpec, match=where):
        of(manifest)


@pytest.mark.parametrize("field", ["parallelism", "completions"])
def test_job_of_several_pods_is_refused(field: str) -> None:
    manifest = pod_of()
    manifest["spec"][field] = 2
    with pytest.raises(InvalidJobSpec, match=f"job_manifest.spec.{field}"):
        of(manifest)
    manifest["spec"][field] = 1
    assert of(manifest).job["spec"][field] == 1


def test_identity_labels_win_on_job_and_pod() -> None:
    made = of(pod_of(), {"labels": {"deployctl.io/pool-id": "stolen", "Team A": "Ünï"}})
    for meta in (made.job["metadata"], made.job["spec"]["template"]["metadata"]):
        assert meta["labels"].items() >= {**OURS, "Team-A": "Uni"}.items()
        assert meta["labels"]["prefect.io/flow-run-id"] == "run-1"


def test_job_and_pod_have_the_owner_label() -> None:
    def labels(owner: str) -> list[str]:
        job = build_manifest(job_spec(template=manifest_template(pod_of())), owner=owner).job
        metas = (job["metadata"], job["spec"]["template"]["metadata"])
        return [meta["labels"]["deployctl.io/owner"] for meta in metas]

    one, another = f"{'c' * 80}/team-a/pool", f"{'c' * 80}/team-b/pool"
    assert labels(one) == labels(one)[:1] * 2 != labels(another)
    assert len(labels(one)[0]) <= 63


def test_labels_are_in_lower_case_on_prefect_2() -> None:
    made = of(pod_of(), {"labels": {"Team A": "Ünï"}}, version="2.20.26")
    assert made.job["metadata"]["labels"]["team-a"] == "uni"


def test_metadata_annotation() -> None:
    made = of(pod_of(), {"notes": {"deployctl.io/job": "x", "mine": 1}})
    annotations = made.job["metadata"]["annotations"]
    assert json.loads(annotations["deployctl.io/job"]) == {
        "worker": "worker",
        "start_timeout": 60,
        "start_timeout_explicit": False,
        "run_timeout": None,
        "ignores_cancellation": False,
        "stream_output": True,
    }
    assert annotations["mine"] == "1"
    assert made.job["spec"]["template"]["metadata"]["annotations"]["mine"] == "1"


SIGTERM = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"


@pytest.mark.parametrize(
    ("backoff", "given", "version", "expected"),
    [
        (0, None, "3.8.8", "reschedule"),
        (0, "crash", "3.8.8", "crash"),
        (3, None, "3.8.8", "relinquish"),
        (3, "crash", "3.8.8", "relinquish"),
        (None, None, "3.8.8", "relinquish"),
        (0, None, "", "reschedule"),
        (0, None, "2.20.26", None),
    ],
)
def test_sigterm_behavior(
    backoff: int | None, given: str | None, version: str, expected: str | None
) -> None:
    manifest = pod_of()
    manifest["spec"]["backoffLimit"] = backoff
    made = of(manifest, {"env": {SIGTERM: given}}, version=version)
    assert variables(made).get(SIGTERM) == expected


def test_variables_can_refer_to_value_from() -> None:
    source = {"fieldRef": {"fieldPath": "status.podIP"}}
    env = [{"name": "URL", "value": "http://$(IP)"}, {"name": "IP", "valueFrom": source}]
    names = list(variables(of(pod_of(env=env), {"env": {"IP2": "$(IP)"}})))
    assert names.index("IP") < names.index("IP2") < names.index("URL")


def hidden(policy: SecretPolicy) -> JobManifest:
    token = {"env": {"TOKEN": "{{ prefect.blocks.secret.token }}", "A": "1"}}
    return build_manifest(job_spec(token), policy=policy)


def ref(name: str, key: str) -> Json:
    return {"secretKeyRef": {"name": name, "key": key}}


def test_secret_mode_nothing() -> None:
    made = hidden(SecretPolicy())
    assert variables(made)["TOKEN"] == "s3cret"
    assert made.secret is None


def test_secret_mode_secrets() -> None:
    made = hidden(SecretPolicy(SecretMode.SECRETS))
    assert variables(made)["TOKEN"] == ref(made.name, "TOKEN")
    assert variables(made)["A"] == "1"
    assert made.secret is not None
    assert made.secret["metadata"]["name"] == made.name
    assert made.secret["metadata"]["namespace"] == made.namespace
    assert made.secret["metadata"]["labels"].items() >= OURS.items()
    assert made.secret["stringData"] == {"TOKEN": "s3cret", "PREFECT_API_KEY": "the-key"}
    assert "s3cret" not in json.dumps(made.job)


def test_secret_mode_all() -> None:
    made = hidden(SecretPolicy(SecretMode.ALL))
    assert container(made)["env"] == []
    assert container(made)["envFrom"] == [{"secretRef": {"name": made.name}}]
    assert made.secret is not None
    assert made.secret["stringData"].items() >= {"A": "1", "TOKEN": "s3cret"}.items()


@pytest.mark.parametrize("hide", SecretMode)
def test_existing_secret_is_used(hide: SecretMode) -> None:
    existing = {"PREFECT_API_KEY": ("keys", "prefect"), "PREFECT_API_AUTH_STRING": ("keys", "auth")}
    made = hidden(SecretPolicy(hide, existing))
    assert variables(made)["PREFECT_API_KEY"] == ref("keys", "prefect")
    assert "PREFECT_API_AUTH_STRING" not in variables(made)
    assert "the-key" not in json.dumps([made.job, made.secret])


def test_building_does_not_change_the_spec() -> None:
    description = job_spec({"env": {"A": "1"}})
    before = json.dumps(description.configuration)
    assert build_manifest(description) == build_manifest(description)
    assert json.dumps(description.configuration) == before
