"""A Kubernetes control plane: etcd, the API server and the controllers, without any node.

Names, conflicts, validation, watches, RBAC and the Job controller are real. Pods do not run; a test
sets their status (`pods.py`). A start takes about five seconds.

Each control plane has its own folder, certificate authority and ports. It reserves the ports with
sockets that do not listen, which its programs share (SO_REUSEPORT), so that no other process can
take a port before it is used or while a program is down.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.support.cluster import tools
from tests.support.cluster.api import KubeApi, Refused
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pki import Authority, new_key
from tests.support.die_with_parent import die_with_parent

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
SERVICE = "10.96.0.1"
START_SECONDS = 180.0
CONTROLLERS = (
    "job-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "resourcequota-controller",
    "disruption-controller",
    "root-ca-certificate-publisher-controller",
)
"""Controllers that a cluster without nodes needs. Others would delete pods without a node."""


class NotStarted(Exception):
    """A program ended or did not respond in time; the message has the end of its log."""


class ControlPlane(Cluster):
    """A control plane, stopped until `start` is called.

    `address` is where the API server listens: nodes need one that is not a loopback address.
    `controllers` are those to run, `("*",)` for all.
    """

    def __init__(self, address: str = LOOPBACK, controllers: Sequence[str] = CONTROLLERS) -> None:
        programs = tools.folder()
        if programs is None:
            raise NotStarted(tools.lacks())
        self._programs = programs
        self._controllers = controllers
        self._address = address
        self._ports = [_reserve_port(LOOPBACK), _reserve_port(LOOPBACK), _reserve_port(address)]
        self._etcd, self._peer, self.port = [port.getsockname()[1] for port in self._ports]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
        self.authority = Authority(folder / "pki")
        self._account_key = folder / "pki" / "accounts.key"
        new_key(self._account_key)
        self.url = f"https://{address}:{self.port}"
        admin = self.authority.issue("admin", "admin", "system:masters")
        super().__init__(KubeApi(self.url, self.authority.own.certificate, admin), folder)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all programs; returns when pods can be created. Raises `NotStarted`."""
        self.run("etcd", *self._etcd_flags())
        self.run("kube-apiserver", *self._api_flags())
        self.wait("kube-apiserver", lambda: self.request("GET", "/readyz") == "ok")
        self.run("kube-controller-manager", *self._controller_flags())
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait("kube-controller-manager", lambda: self.admin.find(account) is not None)

    def close(self) -> None:
        """Stop all programs and delete the folder."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        for port in self._ports:
            port.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, name: str, *flags: str) -> None:
        """Start a program of the cluster tools that ends with this process."""
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                die_with_parent(self._programs / name, *flags),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a program is ready; raises `NotStarted` after a timeout or if it ends."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._processes[name].poll() is not None:
                break
            try:
                if is_ready():
                    return
            except (OSError, Refused):
                pass
            time.sleep(0.05)
        lines = self._log(name).read_text(errors="replace").splitlines()
        raise NotStarted("\n".join([f"{name} did not start:", *lines[-20:]]))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://{LOOPBACK}:{self._etcd}", f"http://{LOOPBACK}:{self._peer}"
        return [
            "--name=test",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
            "--socket-reuse-port",
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--warning-unary-request-duration=5s",
        ]

    def _api_flags(self) -> list[str]:
        hosts = [self._address, LOOPBACK, SERVICE, "localhost", "kubernetes.default.svc"]
        own = self.authority.issue("kube-apiserver", "kube-apiserver", "system:masters", hosts)
        authority = self.authority.own.certificate
        reconciler = "none" if self._address == LOOPBACK else "lease"
        return [
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd}",
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            f"--endpoint-reconciler-type={reconciler}",
            f"--secure-port={self.port}",
            "--permit-port-sharing",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            f"--client-ca-file={authority}",
            f"--tls-cert-file={own.certificate}",
            f"--tls-private-key-file={own.key}",
            f"--kubelet-certificate-authority={authority}",
            f"--kubelet-client-certificate={own.certificate}",
            f"--kubelet-client-key={own.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._account_key}",
            f"--service-account-signing-key-file={self._account_key}",
            "--profiling=false",
        ]

    def _controller_flags(self) -> list[str]:
        user = "system:kube-controller-manager"
        own = KubeApi(
            self.url,
            self.authority.own.certificate,
            self.authority.issue("kube-controller-manager", user),
        )
        config = own.write_kubeconfig(self.folder / "kube-controller-manager.kubeconfig")
        return [
            f"--kubeconfig={config}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--controllers={','.join(self._controllers)}",
            f"--root-ca-file={self.authority.own.certificate}",
            f"--service-account-private-key-file={self._account_key}",
            "--profiling=false",
        ]


def _reserve_port(address: str) -> socket.socket:
    """A socket that reserves a free port of the address, which programs can share."""
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port.bind((address, 0))
    return port
