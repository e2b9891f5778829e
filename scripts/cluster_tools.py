"""`make cluster-tools`: builds the programs of a Kubernetes cluster for the tests.

Root on Debian or Ubuntu also gets the packages that a node needs.

With `--if-possible` a machine that cannot build them is told so, and it is no failure: the tests
that need a cluster are then left out.
"""

from __future__ import annotations

import sys

from tests.support.cluster.node import install_packages
from tests.support.cluster.tools import NotBuilt, build


def main() -> int:
    """Installs and builds; gives the exit code."""
    install_packages()
    try:
        build(lambda line: print(line, flush=True))
    except NotBuilt as problem:
        print(f"The cluster tools are not complete: {problem}", file=sys.stderr)
        return 0 if "--if-possible" in sys.argv else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
