"""The HTTP proxy of a URL: one reading of the environment for the API, registries and clusters.

httpx, requests and the Kubernetes client each read NO_PROXY in their own way; only some know
networks, ports or `*.suffix`. These are the rules of Go's `httpproxy`, so of kubectl and docker,
except that a leading dot includes the domain itself, as in curl.
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str) -> str | None:
    """Returns the URL of the proxy for requests to `url`; None: access it directly.

    Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. This machine is
    never accessed through a proxy.
    """
    scheme = urlsplit(url).scheme
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or bypasses_proxy(url, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def bypasses_proxy(url: str, no_proxy: str) -> bool:
    """Whether `url` is accessed directly under this value of NO_PROXY.

    `no_proxy` holds entries separated by commas: `*`, a domain (its subdomains are included),
    `.domain`, `*.domain`, an address or a network such as `10.0.0.0/8`; a port restricts all but
    networks.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or _in_network(host, "127.0.0.0/8") or host == "::1":
        return True
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_matches(host, port, entry) for entry in entries if entry)


def _matches(host: str, port: int | None, entry: str) -> bool:
    if entry == "*" or _in_network(host, entry):
        return True
    with suppress(ValueError):  # of a port that is no number
        named = urlsplit(f"//{entry}")
        domain = (named.hostname or "").removeprefix("*").strip(".")
        if not domain or named.port not in (None, port):
            return False
        return host == domain or host.endswith(f".{domain}")
    return False


def _in_network(host: str, network: str) -> bool:
    """Whether a host is an address in this network, or is this address."""
    with suppress(ValueError):
        return ip_address(host) in ip_network(network, strict=False)
    return False
