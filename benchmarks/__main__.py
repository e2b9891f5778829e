"""`make bench`: deployctl beside the real `prefect`, or docker, in one run, as ratios.

Both talk to the same server, one after the other, on the same machine; only the ratio means
something elsewhere. `python -m benchmarks startup` runs one of the files.
"""

from __future__ import annotations

import sys

from benchmarks import deploys, images, startup, worker

FILES = {
    "startup": startup.rows,
    "deploys": deploys.rows,
    "worker": worker.rows,
    "images": images.rows,
}


def main(names: list[str]) -> None:
    """Runs the named files, or all of them, and prints a row for each measurement."""
    print(f"{'what':<34}{'prefect':>10}{'deployctl':>12}{'faster':>9}   budget")
    for name in names or FILES:
        for row in FILES[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
