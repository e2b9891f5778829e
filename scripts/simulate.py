"""Simulate replicas of a worker under load, in virtual time, and print what limits them.

    python -m scripts.simulate
    python -m scripts.simulate --replicas 10 --runs-per-hour 30000

The workers are real; server and cluster are simulated, with times that were measured
(`tests/unit/worker/scale_simulation.py`). Without options, a table of loads up to 100,000 runs per
hour and 50 replicas is printed, which takes some minutes. docs/scaling.md explains the figures.
"""

from __future__ import annotations

import argparse
import math
import resource
from collections.abc import Sequence
from dataclasses import replace

from tests.unit.worker.scale_simulation import Figures, Load, ScaleSimulation

LOADS = (
    Load(1, 1_000, server_processes=1),
    Load(1, 3_600, server_processes=2),
    Load(2, 10_000, server_processes=4),
    Load(10, 10_000, server_processes=4),
    Load(5, 30_000, server_processes=10),
    Load(10, 100_000, server_processes=32, seconds=90),
    Load(50, 100_000, server_processes=32, seconds=90),
    Load(1, 0, burst=1_000, server_processes=4),
    Load(10, 0, burst=1_000, server_processes=4),
)
HEAD = """\
| runs per hour | replicas | runs | most Jobs | lost | run twice | 99 % of Jobs within | \
requests per run | claims lost | server CPU per run | server processes | reconcile loop | \
longest step |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""
_BUSY = 0.7
"""Part of the time that a server may be busy."""


def row(figures: Figures) -> str:
    """Return the row of the table for a simulation."""
    load = figures.load
    rate = load.runs_per_hour / 3600
    processes = math.ceil(rate * figures.seconds_per_run / _BUSY)
    cells = (
        f"{load.runs_per_hour:,.0f}" if rate else f"{load.burst:,} at once",
        load.replicas,
        figures.runs,
        figures.most_jobs,
        figures.lost,
        len(figures.violations),
        f"{figures.worst_delay:.1f} s",
        f"{figures.requests_per_run:.1f}",
        f"{figures.lost_claims / figures.runs:.0%}",
        f"{figures.seconds_per_run:.2f} s",
        processes or "",
        f"{figures.busiest_step:.1%}",
        f"{figures.slowest_step * 1e3:.0f} ms",
    )
    return f"| {' | '.join(map(str, cells))} |"


def loads(options: argparse.Namespace) -> Sequence[Load]:
    """Return the loads that the options ask for."""
    if not (options.runs_per_hour or options.burst):
        return LOADS
    load = Load(options.replicas, options.runs_per_hour, burst=options.burst)
    load = replace(load, seconds=options.seconds, run_seconds=options.run_seconds)
    return [replace(load, server_processes=options.server_processes)]


def main() -> None:
    """Simulate, print a row for each load, and exit with 1 if a run was lost or ran twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="Number of workers.")
    parser.add_argument("--runs-per-hour", type=float, default=0.0, metavar="N")
    parser.add_argument("--burst", type=int, default=0, metavar="N", help="Runs due at once.")
    parser.add_argument("--seconds", type=float, default=120.0, help="For how long runs are due.")
    parser.add_argument("--run-seconds", type=float, default=60.0, help="Duration of a run.")
    parser.add_argument("--server-processes", type=int, default=1, metavar="N")
    passed = True
    print(HEAD, flush=True)
    for load in loads(parser.parse_args()):
        figures = ScaleSimulation(load).play()
        print(row(figures), flush=True)
        passed = passed and not figures.lost and not figures.violations
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of the simulation, with all replicas: {memory:.0f} MB at most")
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
