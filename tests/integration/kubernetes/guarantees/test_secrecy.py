"""Guarantees 23 and 24: what a job is given of its worker's environment, and where secrets are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

KEY = "pnu_swordfish_0123456789"
AUTH = "admin:marlin-9876"
INTEGRATION = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER"
JOBS_RIGHTS = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]},
]


def container(harness: WorkerHarness, run: str) -> Any:
    """The container of the run's Job."""
    harness.await_job(run)
    return harness.jobs(run)[0]["spec"]["template"]["spec"]["containers"][0]


def environment(harness: WorkerHarness, run: str) -> dict[str, Any]:
    """The variables of the run's Job: their values, or where those come from."""
    return {
        each["name"]: each.get("value", each.get("valueFrom"))
        for each in container(harness, run)["env"]
    }


def secrets(harness: WorkerHarness) -> list[Any]:
    return harness.kube.items(f"/api/v1/namespaces/{harness.namespace}/secrets")


class TestEnvHygiene:
    """Guarantee 23."""

    def test_environment_of_a_job(self, harness: WorkerHarness) -> None:
        deployment = harness.deployment("env", job_variables={"env": {"MINE": "1"}})
        run = harness.run(deployment)
        given: dict[str, Any] = {
            "PREFECT_CLIENT_MAX_RETRIES": "7",
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "flows",
        }
        kept: dict[str, Any] = {
            "PREFECT_HOME": "/srv/worker",
            "PREFECT_PROFILES_PATH": "/srv/profiles.toml",
            "PREFECT_WORKER_PREFETCH_SECONDS": "11",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://u:p@db/x",
            "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": harness.namespace,
            "AWS_SECRET_ACCESS_KEY": "not for jobs",
        }
        with harness.worker("--name", "w", **given, **kept):
            found = environment(harness, run)
        flow_run = harness.read(run)
        expected = given | {
            "MINE": "1",
            "PREFECT_API_URL": harness.proxy.api_url,
            "PREFECT__FLOW_RUN_ID": run,
        }
        if harness.major >= 3:
            expected |= {
                "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
                "PREFECT__WORKER_NAME": "w",
                "PREFECT__FLOW_ID": flow_run["flow_id"],
                "PREFECT__FLOW_NAME": f"flow-{harness.pool}",
                "PREFECT__DEPLOYMENT_ID": deployment,
                "PREFECT__DEPLOYMENT_NAME": "env",
            }
        assert found == expected


class TestSecretSafety:
    """Guarantee 24."""

    @pytest.mark.parametrize("half", ["API_KEY_SECRET_NAME", "API_AUTH_STRING_SECRET_NAME"])
    def test_incomplete_secret_reference_fails_at_startup(
        self, harness: WorkerHarness, half: str
    ) -> None:
        variable = f"{INTEGRATION}_{half}"
        name: dict[str, Any] = {variable: "prefect"}
        with harness.worker(PREFECT_API_KEY=KEY, **name) as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert f"'{variable}' is set, but '{variable[:-4]}KEY' is not" in line["message"]
        assert not harness.kube_proxy.writes

    def test_job_refers_to_existing_secret(self, harness: WorkerHarness) -> None:
        run = harness.run()
        address: dict[str, Any] = {
            f"{INTEGRATION}_API_KEY_SECRET_NAME": "prefect",
            f"{INTEGRATION}_API_KEY_SECRET_KEY": "key",
        }
        with harness.worker(PREFECT_API_KEY=KEY, **address):
            found = environment(harness, run)
        assert found["PREFECT_API_KEY"] == {"secretKeyRef": {"name": "prefect", "key": "key"}}
        assert not secrets(harness)

    def test_values_are_only_in_the_secret_of_their_job(self, harness: WorkerHarness) -> None:
        run = harness.run()
        env: dict[str, Any] = {"PREFECT_API_KEY": KEY, "PREFECT_LOGGING_LEVEL": "DEBUG"}
        if harness.major >= 3:
            env["PREFECT_API_AUTH_STRING"] = AUTH
        with harness.worker(**env) as worker:
            harness.await_job(run)
            harness.kubelet.failed(harness.begin(run), 1)
            harness.await_state(run, "CRASHED")
        [secret] = secrets(harness)
        assert {"PREFECT_API_KEY"} <= secret["data"].keys()
        [job] = harness.jobs(run)
        texts = [worker.output, str(job), harness.log(run), str(harness.states(run))]
        for words in (KEY, AUTH.partition(":")[2]):
            assert not [text for text in texts if words in text]

    def test_secret_outlives_the_worker_while_a_pod_needs_it(self, harness: WorkerHarness) -> None:
        run = harness.run()
        with harness.worker(PREFECT_API_KEY=KEY) as worker:
            harness.kubelet.waiting(harness.await_pod(run), "ContainerCreating")
            until(lambda: harness.read(run)["infrastructure_pid"], harness.worker_output)
            [before] = secrets(harness)
            worker.kill()
        with harness.worker(PREFECT_API_KEY=KEY) as worker:
            worker.await_entry("job.waiting", run=run)
            [meanwhile] = secrets(harness)
            worker.stop()
        [after] = secrets(harness)
        [job] = harness.jobs(run)
        name = before["metadata"]["name"]
        reference = environment(harness, run)["PREFECT_API_KEY"]["secretKeyRef"]
        assert reference == {"name": name, "key": "PREFECT_API_KEY"}
        assert before["metadata"]["uid"] == meanwhile["metadata"]["uid"] == after["metadata"]["uid"]
        [owner] = after["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Job", job["metadata"]["uid"])

    def test_required_secret_without_rights_creates_no_job(
        self,
        harness: WorkerHarness,
        control_plane: Cluster,
        kube_proxy: MakeKubeProxy,
    ) -> None:
        harness.kube_proxy = kube_proxy(control_plane.account(JOBS_RIGHTS, harness.namespace))
        run = harness.run()
        asked: dict[str, Any] = {f"{INTEGRATION}_CREATE_SECRET_FOR_API_KEY": "true"}
        with harness.worker(PREFECT_API_KEY=KEY, **asked):
            state = harness.await_state(run, "CRASHED")
        assert "secrets" in state["message"]
        assert KEY not in state["message"]
        assert not harness.jobs()
