"""Where the programs of a Kubernetes cluster are, and how they are built.

`make cluster-tools` builds them with Go from the modules pinned in tests/cluster/go: no download
site, the same on each machine, about six minutes once. They stay in a cache outside the repository,
so that a fresh clone finds them. A finished program is kept, so an interrupted build goes on where
it was. `KUBEBUILDER_ASSETS` names a folder with programs that somebody else has built.
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
}
"""What to build, in this order: the control plane first."""
CACHE = Path(
    os.environ.get("DEPLOYCTL_TEST_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deployctl"
).resolve()
"""Where what takes long to make is kept for the next clone."""
BUILT = CACHE / f"kubernetes-{VERSION}" / "bin"
"""Where `make cluster-tools` puts the programs."""
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE = tuple(PACKAGES)


class NotBuilt(Exception):
    """A program could not be built; the message says why."""


def folder(wanted: tuple[str, ...] = CONTROL_PLANE) -> Path | None:
    """A folder that holds all the wanted programs, or None.

    All come from one folder, because parts of different versions need not work together.
    """
    return next((place for place in _places() if not missing(place, wanted)), None)


def lacks(wanted: tuple[str, ...] = CONTROL_PLANE) -> str:
    """Which of the wanted programs are missing, and the way out; "" if there is a `folder`."""
    if folder(wanted):
        return ""
    place = _places()[0]
    return (
        f"{place} has no {', '.join(missing(place, wanted))}; "
        "`make cluster-tools` builds a Kubernetes, with Go"
    )


def _places() -> list[Path]:
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return [Path(given), BUILT] if given else [BUILT]


def missing(place: Path, wanted: tuple[str, ...] = NODE) -> list[str]:
    """Which of the wanted programs are not in the folder."""
    return [name for name in wanted if not os.access(place / name, os.X_OK)]


def build(tell: Callable[[str], None]) -> None:
    """Builds what the cache does not hold yet, and tells the progress.

    A second build waits for the first and then finds its work done. Raises `NotBuilt`.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    with _alone(BUILT.parent / ".lock", tell):
        there = folder(NODE)
        if there:
            tell(f"The cluster tools are in {there}.")
            return
        todo = missing(BUILT)
        if not shutil.which("go"):
            raise NotBuilt(f"Go is not installed; it would build {', '.join(todo)}.")
        tell(f"Building the cluster tools in {BUILT}; the first one takes some minutes.")
        for number, name in enumerate(todo, 1):
            started = time.monotonic()
            tell(f"[{number}/{len(todo)}] {name}")
            _build_one(name)
            tell(f"[{number}/{len(todo)}] {name}: {time.monotonic() - started:.0f} s")


def _build_one(name: str) -> None:
    minor = VERSION.split(".")[1]
    about = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": minor}
    stamps = [f"-X k8s.io/component-base/version.{key}={value}" for key, value in about.items()]
    part = BUILT / f".{name}.part"
    command = ["go", "build", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", " ".join(["-s", "-w", *stamps]), "-o", str(part), PACKAGES[name]]
    module = MODULES / ("etcd" if name == "etcd" else "kubernetes")
    if subprocess.run(command, cwd=module, check=False).returncode:
        raise NotBuilt(f"Go could not build {name}; its message is above.")
    part.rename(BUILT / name)


@contextmanager
def _alone(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Waiting for another build of the cluster tools.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
