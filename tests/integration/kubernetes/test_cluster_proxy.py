"""The proxy in front of Kubernetes: what the tests of the worker take for granted."""

from __future__ import annotations

import http.client
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster import tools
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy, error
from tests.support.waiting import TIMEOUT, until


@pytest.fixture
def through(kube_proxy: MakeKubeProxy) -> KubeProxy:
    return kube_proxy()


def call(proxy: KubeProxy, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with closing(
        http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=TIMEOUT)
    ) as connection:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


class Watch:
    """A watch that is read in a thread: frames, then None for its end."""

    def __init__(self, proxy: KubeProxy, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        self._connection.request("GET", f"{path}?watch=1")
        self._frames: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._connection.getresponse() as answer:
            try:
                for line in answer:
                    self._frames.put(json.loads(line))
            except (OSError, http.client.HTTPException):
                pass
        self._frames.put(None)

    def next(self) -> Any:
        return self._frames.get(timeout=TIMEOUT)

    def is_silent(self) -> bool:
        return self._frames.empty()

    def close(self, proxy: KubeProxy) -> None:
        proxy.cut()
        self._thread.join()
        self._connection.close()


@pytest.fixture
def secrets(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


@pytest.fixture
def watch(through: KubeProxy, secrets: str) -> Iterator[Watch]:
    watch = Watch(through, secrets)
    through.await_watch(secrets)
    yield watch
    watch.close(through)


def secret(name: str) -> Any:
    return {"metadata": {"name": name}}


def test_requests_pass_with_the_proxys_credentials_and_are_recorded(
    through: KubeProxy, secrets: str
) -> None:
    assert call(through, "POST", secrets, secret("a"))[0] == 201
    status, found = call(through, "GET", f"{secrets}?limit=5")
    assert (status, [each["metadata"]["name"] for each in found["items"]]) == (200, ["a"])
    assert [(e.method, e.path, e.query, e.status) for e in through.exchanges] == [
        ("POST", secrets, "", 201),
        ("GET", secrets, "limit=5", 200),
    ]
    assert [e.path for e in through.writes] == [secrets]


def test_proxy_acts_as_its_account(
    control_plane: Cluster, kube_proxy: MakeKubeProxy, namespace: str, secrets: str
) -> None:
    reading = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    proxy = kube_proxy(control_plane.account(reading, namespace))
    assert call(proxy, "GET", secrets)[0] == 200
    assert call(proxy, "POST", secrets, secret("a"))[0] == 403


def test_kubectl_accepts_the_kubeconfig(through: KubeProxy, secrets: str) -> None:
    programs = tools.folder(("kubectl",))
    if programs is None:
        pytest.skip(tools.lacks(("kubectl",)))
    command = [str(programs / "kubectl"), f"--kubeconfig={through.kubeconfig}"]
    subprocess.run([*command, "create", "secret", "generic", "a"], check=True)
    assert call(through, "GET", f"{secrets}/a")[0] == 200


def test_request_with_dropped_answer_is_carried_out(through: KubeProxy, secrets: str) -> None:
    through.drop_answer(method="POST", path="/secrets$")
    with pytest.raises(http.client.HTTPException):
        call(through, "POST", secrets, secret("a"))
    assert call(through, "GET", f"{secrets}/a")[0] == 200


def test_fault_can_match_one_page_of_a_list(through: KubeProxy, secrets: str) -> None:
    through.answer(410, query="continue=")
    assert call(through, "GET", secrets)[0] == 200
    assert call(through, "GET", f"{secrets}?continue=x")[0] == 410


def test_hanging_request_is_neither_answered_nor_passed_on(
    through: KubeProxy, secrets: str
) -> None:
    through.hang(method="POST")
    with closing(http.client.HTTPConnection("127.0.0.1", through.port, timeout=0.5)) as connection:
        connection.request("POST", secrets, json.dumps(secret("a")))
        with pytest.raises(TimeoutError):
            connection.getresponse()
    through.clear()
    assert call(through, "GET", f"{secrets}/a")[0] == 404


def test_watch_passes_frame_by_frame(
    control_plane: Cluster, through: KubeProxy, secrets: str, watch: Watch
) -> None:
    for name in ("a", "b"):
        control_plane.request("POST", secrets, secret(name))
        frame = watch.next()
        assert (frame["type"], frame["object"]["metadata"]["name"]) == ("ADDED", name)
    assert [(e.method, e.status) for e in through.seen("WATCH")] == [("WATCH", 200)]


def test_frame_can_be_inserted(through: KubeProxy, secrets: str, watch: Watch) -> None:
    assert through.say(error(410, "Expired"), secrets) == 1
    frame = watch.next()
    assert (frame["type"], frame["object"]["code"]) == ("ERROR", 410)


def test_aborted_watch_ends(through: KubeProxy, watch: Watch) -> None:
    assert through.cut("/pods$") == 0
    assert through.cut("/secrets$") == 1
    assert watch.next() is None


def test_frozen_watch_is_silent_and_stays_open(
    control_plane: Cluster, through: KubeProxy, secrets: str, watch: Watch
) -> None:
    fresh = Watch(through, secrets)
    try:
        wait_for_watches(through, 2)
        through.freeze()
        second = Watch(through, secrets)
        try:
            wait_for_watches(through, 3)
            control_plane.request("POST", secrets, secret("a"))
            assert second.next()["type"] == "ADDED"
            assert watch.is_silent()
            assert fresh.is_silent()
            assert len(through.watches()) == 3
        finally:
            second.close(through)
    finally:
        fresh.close(through)


def wait_for_watches(proxy: KubeProxy, number: int) -> None:
    until(lambda: len(proxy.watches()) == number)


def test_watch_is_closed_when_its_client_disconnects(through: KubeProxy, secrets: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", through.port)) as connection:
        connection.request("GET", f"{secrets}?watch=True")
        with connection.getresponse():
            through.await_watch()
    wait_for_watches(through, 0)


def test_open_watch_survives_clear(through: KubeProxy, secrets: str, watch: Watch) -> None:
    through.clear()
    assert through.exchanges == []
    assert through.say(error(500, "InternalError"), secrets) == 1
    assert watch.next()["object"]["code"] == 500
