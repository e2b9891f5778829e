"""`make bench`: compare deployctl with the real `prefect` and docker, in one run.

Both use the same server, one after the other, on the same machine. Only the ratios can be compared
between machines. `python -m benchmarks startup` runs a single suite.
"""

from __future__ import annotations

import sys

from benchmarks import deploys, images, startup, worker
from benchmarks.row import HEADER

SUITES = {
    "startup": startup.rows,
    "deploys": deploys.rows,
    "worker": worker.on_all_databases,
    "images": images.rows,
}


def main(names: list[str]) -> None:
    """Run the named suites, or all of them, and print a row per measurement."""
    print(HEADER)
    for name in names or SUITES:
        for row in SUITES[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
