"""`make cluster-tools`: build the programs of a Kubernetes cluster for the tests.

Run by root on Debian or Ubuntu, it also installs the packages that a node needs.

With `--if-possible`, a machine that can't build them is not an error: the reason is printed, and
the tests that need a cluster are skipped. With `--with-dns`, it also builds CoreDNS, which only
`make test-cluster` needs.
"""

from __future__ import annotations

import sys

from tests.support.cluster.node import install_packages
from tests.support.cluster.tools import BASIC, PACKAGES, NotBuilt, build


def main() -> int:
    """Install the packages, build the programs, and return the exit code."""
    install_packages()
    try:
        names = tuple(PACKAGES) if "--with-dns" in sys.argv else BASIC
        build(lambda line: print(line, flush=True), names)
    except NotBuilt as problem:
        print(f"The cluster tools are not complete: {problem}", file=sys.stderr)
        return 0 if "--if-possible" in sys.argv else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
