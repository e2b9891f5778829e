"""Services and their names for the pods of a node.

CoreDNS answers for the names. A relay in this process takes the place of kube-proxy, which would
change the firewall of the whole machine: each address of a Service is one of the node's bridge, and
a port listens there while an endpoint is ready. Without one, connections are refused.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

from tests.support.cluster import tools
from tests.support.cluster.api import Refused
from tests.support.cluster.control_plane import SERVICE
from tests.support.cluster.node import Node
from tests.support.cluster.service_proxy import Address, ServiceProxy
from tests.support.die_with_parent import die_with_parent
from tests.support.waiting import until

COREFILE = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
        ttl 0
    }}
}}
"""
PERIOD = 0.3
"""Seconds between two looks at the Services."""


class ServiceNetwork:
    """The names and addresses of all Services of a node's cluster; a context manager."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._endpoints: Mapping[Address, Sequence[Address]] = {}
        self._proxies: dict[Address, ServiceProxy] = {}
        self._addresses: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._dns = self._start_dns()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        for proxy in self._proxies.values():
            proxy.stop()
        self._dns.kill()
        self._dns.wait()

    def _start_dns(self) -> subprocess.Popen[bytes]:
        programs = tools.folder(tools.WITH_DNS)
        assert programs, tools.lacks(tools.WITH_DNS)
        corefile, log = self._node.folder / "Corefile", self._node.folder / "coredns.log"
        address = self._node.address
        corefile.write_text(COREFILE.format(address=address, kubeconfig=self._node.kubeconfig))
        with log.open("wb") as output:
            started = subprocess.Popen(
                die_with_parent(programs / "coredns", "-conf", corefile),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def listens() -> bool:
            with suppress(OSError), socket.create_connection((address, 53)):
                return True
            return False

        until(listens, log.read_text)
        return started

    def _follow(self) -> None:
        while not self._ended.wait(PERIOD):
            with suppress(OSError, Refused):
                self._update()

    def _update(self) -> None:
        """Listen on all ports that have an endpoint, and on no others."""
        kube = self._node.control_plane.admin
        services = kube.items("/api/v1/services")
        slices = kube.items("/apis/discovery.k8s.io/v1/endpointslices")
        self._endpoints = endpoints(services, slices)
        for ip in {ip for ip, _ in self._endpoints} - self._addresses:
            command = ["ip", "address", "add", f"{ip}/32", "dev", self._node.bridge]
            subprocess.run(command, check=True)
            self._addresses.add(ip)
        ready = {address for address, found in self._endpoints.items() if found}
        for address in self._proxies.keys() - ready:
            self._proxies.pop(address).stop()
        for address in ready - self._proxies.keys():
            found = partial(self._ready_endpoints, address)
            self._proxies[address] = ServiceProxy(self._node.bridge, address, found)

    def _ready_endpoints(self, address: Address) -> Sequence[Address]:
        return self._endpoints.get(address, ())


def endpoints(services: Sequence[Any], slices: Sequence[Any]) -> dict[Address, list[Address]]:
    """Address and port of each Service, except that of the API server → its ready endpoints."""
    ready: defaultdict[tuple[str, str, str], list[Address]] = defaultdict(list)
    for each in slices:
        meta = each["metadata"]
        of = (meta["namespace"], meta["labels"]["kubernetes.io/service-name"])
        for endpoint in each["endpoints"] or ():
            if endpoint["conditions"].get("ready"):
                for port in each["ports"]:
                    found = [(ip, port["port"]) for ip in endpoint["addresses"]]
                    ready[(*of, port.get("name", ""))] += found
    return {
        (service["spec"]["clusterIP"], port["port"]): ready[
            service["metadata"]["namespace"], service["metadata"]["name"], port.get("name", "")
        ]
        for service in services
        if service["spec"].get("clusterIP") not in (None, "None", SERVICE)
        for port in service["spec"]["ports"]
    }
