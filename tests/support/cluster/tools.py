"""Programs of a Kubernetes cluster: where they are, and how they are built.

`make cluster-tools` builds them with Go from the modules pinned in tests/cluster/go: without a
download site, the same on every machine, about six minutes once. They are cached outside the
repository, so that a fresh clone finds them. Each finished program is kept, so that an interrupted
build continues. `KUBEBUILDER_ASSETS` names a folder with programs built elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = "1.36.1"
MODULES = Path(__file__).parents[2] / "cluster" / "go"
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "helm": "helm.sh/helm/v3/cmd/helm",
    "coredns": ".",
}
"""Go packages to build, in this order: the control plane first."""
CACHE = Path(
    os.environ.get("DEPLOYCTL_TEST_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deployctl"
).resolve()
"""Cache for what is slow to build, shared by all clones."""
BUILT = CACHE / f"kubernetes-{VERSION}" / "bin"
"""Where `make cluster-tools` puts the programs."""
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE = tuple(name for name in PACKAGES if name not in ("helm", "coredns"))
WITH_DNS = (*NODE, "coredns")
"""What the tests of `make test-cluster` need."""
BASIC = tuple(name for name in PACKAGES if name != "coredns")
"""What all other tests need."""


class NotBuilt(Exception):
    """A program could not be built; the message says why."""


def folder(names: tuple[str, ...] = CONTROL_PLANE) -> Path | None:
    """A folder that has all these programs, or None.

    All come from one folder, because different versions may not work together.
    """
    return next((folder_ for folder_ in _folders() if not missing(folder_, names)), None)


def lacks(names: tuple[str, ...] = CONTROL_PLANE) -> str:
    """Which of these programs are missing and how to get them; "" if there is a `folder`."""
    if folder(names):
        return ""
    folder_ = _folders()[0]
    return (
        f"{folder_} has no {', '.join(missing(folder_, names))}; "
        "`make cluster-tools` builds a Kubernetes, with Go"
    )


def _folders() -> list[Path]:
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return [Path(given), BUILT] if given else [BUILT]


def missing(folder_: Path, names: tuple[str, ...] = BASIC) -> list[str]:
    """Which of these programs are not in the folder."""
    return [name for name in names if not os.access(folder_ / name, os.X_OK)]


def build(report: Callable[[str], None], names: tuple[str, ...] = BASIC) -> None:
    """Build what is not cached yet of these programs, and report the progress.

    A concurrent build waits for the first one to finish. Raises `NotBuilt`.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    with _build_lock(BUILT.parent / ".lock", report):
        existing = folder(names)
        if existing:
            report(f"The cluster tools are in {existing}.")
            return
        todo = missing(BUILT, names)
        if not shutil.which("go"):
            raise NotBuilt(f"Go is not installed; it would build {', '.join(todo)}.")
        report(f"Building the cluster tools in {BUILT}; the first one takes some minutes.")
        for number, name in enumerate(todo, 1):
            started = time.monotonic()
            report(f"[{number}/{len(todo)}] {name}")
            _build_one(name)
            report(f"[{number}/{len(todo)}] {name}: {time.monotonic() - started:.0f} s")


def _build_one(name: str) -> None:
    minor = VERSION.split(".")[1]
    about = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": minor}
    stamps = [f"-X k8s.io/component-base/version.{key}={value}" for key, value in about.items()]
    part = BUILT / f".{name}.part"
    command = ["go", "build", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", " ".join(["-s", "-w", *stamps]), "-o", str(part), PACKAGES[name]]
    module = MODULES / (name if name in ("etcd", "helm", "coredns") else "kubernetes")
    if subprocess.run(command, cwd=module, check=False).returncode:
        raise NotBuilt(f"Go could not build {name}; its message is above.")
    part.rename(BUILT / name)


@contextmanager
def _build_lock(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Waiting for another build of the cluster tools.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
