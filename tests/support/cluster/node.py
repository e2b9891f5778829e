"""A node for a control plane that really runs pods, from images built on this machine.

The node runs in its own mount and PID namespaces. A bridge with a unique address connects it to the
machine, so that several test runs can have one each. It cannot reach other machines: pods have no
other route except the one to Services, and every image pull goes to a port without a listener.
`service_network.py` adds Services other than that of the API server, and their names. A node needs
root and some Debian packages; `lacks` returns what is missing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.support.cluster import tools
from tests.support.cluster.api import KubeApi
from tests.support.cluster.control_plane import (
    LOOPBACK,
    SERVICE,
    SERVICES,
    ControlPlane,
    NotStarted,
)
from tests.support.cluster.images import PAUSE, SOURCES, Image, pause_image, write_archive
from tests.support.cluster.service_proxy import ServiceProxy

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "gcc": "gcc",
    "ip": "iproute2",
    "runc": "runc",
    "unshare": "util-linux",
}
"""Programs that a node or its images need, and the Debian packages that have them."""
PLUGINS = Path("/usr/lib/cni")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORKS = ipaddress.IPv4Network("10.88.0.0/16")
START_SECONDS = 180.0


def lacks() -> str:
    """Why this machine cannot run a node; "" if it can."""
    if os.geteuid():
        return "a Kubernetes node needs root"
    if packages := missing_packages():
        return f"a Kubernetes node needs the Debian packages {' '.join(packages)}"
    return tools.lacks(tools.NODE)


def missing_packages() -> list[str]:
    """The Debian packages that a node needs and that are not installed."""
    missing = {pack for name, pack in PACKAGES.items() if not shutil.which(name, path=PATH)}
    if not (PLUGINS / "bridge").exists():
        missing.add("containernetworking-plugins")
    return sorted(missing)


def install_packages() -> None:
    """Install what a node needs if there is apt and root; otherwise do nothing."""
    if not os.geteuid() and shutil.which("apt-get") and (packages := missing_packages()):
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "--quiet", *command], env=env, check=False)


class Node:
    """A node of a control plane; a context manager.

    The control plane must run all controllers. A program on this machine that pods connect to
    listens on `address`.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.kubeconfig = control_plane.kubeconfig
        network = _free_network()
        self.address = str(network[1])
        self.folder = Path(tempfile.mkdtemp(prefix="node-", dir="/var/tmp"))
        self.bridge = f"node{os.getpid():x}{random.randrange(256):02x}"
        self._service: ServiceProxy | None = None
        self._configure(network)

    def __enter__(self) -> Self:
        programs = tools.folder(tools.NODE)
        assert programs, lacks()
        self._process = subprocess.Popen(
            [SOURCES / "hold.sh", self.folder, self.bridge, self.address, programs, SERVICE],
            env={"PATH": PATH},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the node with all its pods, and release its resources."""
        if self._service:
            self._service.stop()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def load(self, archive: Path) -> None:
        """Import the images of an archive of `docker save` into the node."""
        importing = subprocess.run(
            [*self._import, archive], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if importing.returncode:
            raise NotStarted(f"containerd refused the images:\n{importing.stdout}")

    def add(self, *images: Image) -> None:
        """Import images into the node."""
        with subprocess.Popen(
            [*self._import, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as importing:
            assert importing.stdin
            assert importing.stdout
            write_archive(images, importing.stdin)
            importing.stdin.close()
            output = importing.stdout.read().decode()
        if importing.returncode:
            raise NotStarted(f"containerd refused the images:\n{output}")

    def add_volume(self, name: str, storage_class: str) -> None:
        """Add an empty local volume, and its storage class without a provisioner."""
        classes = "/apis/storage.k8s.io/v1/storageclasses"
        if not self.control_plane.admin.find(f"{classes}/{storage_class}"):
            waits = {"volumeBindingMode": "WaitForFirstConsumer"}
            provisioner = {"provisioner": "kubernetes.io/no-provisioner"}
            meta = {"metadata": {"name": storage_class}}
            self.control_plane.request("POST", classes, meta | provisioner | waits)
        path = self.folder / "volumes" / name
        path.mkdir(parents=True)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}
        spec = {
            "storageClassName": storage_class,
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        volume = {"metadata": {"name": name}, "spec": spec}
        self.control_plane.request("POST", "/api/v1/persistentvolumes", volume)

    def kubectl(self, *args: str, content: str = "") -> str:
        """Run kubectl as an administrator and return its output; fail the test if it fails."""
        programs = tools.folder(tools.NODE)
        assert programs
        command = [f"{programs}/kubectl", f"--kubeconfig={self.kubeconfig}", *args]
        ended = subprocess.run(command, input=content, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{args}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def registry(self, name: str, url: str) -> None:
        """Pull images of this registry, `NAME/image:tag`, from `url` from now on."""
        folder = self.folder / "registries" / name
        folder.mkdir(parents=True)
        host = f'[host."{url}"]\ncapabilities = ["pull", "resolve"]\n'
        (folder / "hosts.toml").write_text(f'server = "{url}"\n{host}')

    @property
    def _import(self) -> list[str]:
        """The command that imports an archive, which is its next argument."""
        return ["ctr", "-a", self._socket, "-n", "k8s.io", "images", "import"]

    @property
    def _socket(self) -> str:
        return str(self.folder / "containerd.sock")

    def _start(self) -> None:
        self._wait("containerd", self._containerd_responds)
        self.add(pause_image())
        self._wait("kubelet", self._is_ready)
        api = [(LOOPBACK, self.control_plane.port)]
        self._service = ServiceProxy(self.bridge, (SERVICE, 443), lambda: api)

    def _containerd_responds(self) -> bool:
        command = ["ctr", "-a", self._socket, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _is_ready(self) -> bool:
        nodes = self.control_plane.admin.items("/api/v1/nodes")
        conditions: list[Any] = nodes[0].get("status", {}).get("conditions", []) if nodes else []
        return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if is_ready():
                return
            time.sleep(0.1)
        log = self.folder / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
        raise NotStarted("\n".join([f"{name} did not start:", *lines]))

    # Configuration of the programs

    def _configure(self, network: ipaddress.IPv4Network) -> None:
        kubelet = ("kubelet", "system:node:node", "system:nodes", ["node", self.address])
        self._kubelet = self.control_plane.authority.issue(*kubelet)
        self._user("kubelet", "system:node:node", "system:nodes")
        self._user("kube-scheduler", "system:kube-scheduler")
        (self.folder / "network").mkdir()
        self._write("network/bridge.conflist", _network(self.bridge, network))
        self._write("kubelet.json", self._kubelet_settings())
        self.registry("_default", "http://127.0.0.1:1")
        (self.folder / "resolv.conf").touch()
        text = (SOURCES / "containerd.toml").read_text()
        values = {"FOLDER": str(self.folder), "PAUSE": PAUSE, "PLUGINS": str(PLUGINS)}
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (self.folder / "containerd.toml").write_text(text)

    def _write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def _user(self, file: str, name: str, group: str = "") -> None:
        authority = self.control_plane.authority
        pair = authority.issue(f"{file}-client", name, group)
        api = KubeApi(self.control_plane.url, authority.own.certificate, pair)
        api.write_kubeconfig(self.folder / f"{file}.kubeconfig")

    def _kubelet_settings(self) -> Any:
        authority = str(self.control_plane.authority.own.certificate)
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "healthzPort": 0,
            "readOnlyPort": 0,
            "authentication": {"x509": {"clientCAFile": authority}},
            "tlsCertFile": str(self._kubelet.certificate),
            "tlsPrivateKeyFile": str(self._kubelet.key),
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.bridge}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "resolvConf": str(self.folder / "resolv.conf"),
            "clusterDNS": [self.address],
            "clusterDomain": "cluster.local",
            "imageGCHighThresholdPercent": 100,
            # Imported images were never pulled, which from 1.35 on is a reason to pull them.
            "imagePullCredentialsVerificationPolicy": "NeverVerify",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
            "serializeImagePulls": False,
            "volumePluginDir": str(self.folder / "plugins"),
            "podLogsDir": str(self.folder / "logs"),
        }


def _network(bridge: str, network: ipaddress.IPv4Network) -> Any:
    ranges = [[{"subnet": str(network), "rangeStart": str(network[10])}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": SERVICES}]}
    return {
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [{"type": "bridge", "bridge": bridge, "ipam": ipam}],
    }


def _free_network() -> ipaddress.IPv4Network:
    """A network of 256 addresses that no interface of this machine has."""
    command = ["ip", "-json", "-4", "address"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    taken = {info["local"].rpartition(".")[0] for link in found for info in link["addr_info"]}
    free = [net for net in NETWORKS.subnets(new_prefix=24) if str(net[0])[:-2] not in taken]
    return random.choice(free)
