"""Phases of programs, differences between polls, and reading of growing files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.clients.supervised import ProcessStatus
from deployctl.worker.model import Job, JobChanged, JobsListed, JobVanished, Phase
from deployctl.worker.runtimes.process import diff_jobs, phase_and_cause
from deployctl.worker.runtimes.tail import (
    MAX_BYTES,
    MAX_LINE,
    Tail,
    last_lines,
    last_lines_within_limit,
)

JOB = Job("run", "a", "name", "place", "1", "w", Phase.RUNNING, 1.0)
OVER = replace(JOB, phase=Phase.SUCCEEDED)


@pytest.mark.parametrize(
    ("status", "phase", "cause"),
    [
        (ProcessStatus(None, alive=True), Phase.WAITING, None),
        (ProcessStatus(7, alive=True), Phase.RUNNING, None),
        (ProcessStatus(7, alive=False, exit_code=0), Phase.SUCCEEDED, None),
        (ProcessStatus(7, alive=False, exit_code=1), Phase.FAILED, "ExitCode"),
        (ProcessStatus(7, alive=True, exit_code=0), Phase.SUCCEEDED, None),
        (ProcessStatus(7, alive=False), Phase.FAILED, "Lost"),
    ],
)
def test_phase_and_cause(status: ProcessStatus, phase: Phase, cause: str | None) -> None:
    judged, why = phase_and_cause(status)
    assert (judged, why and why.code) == (phase, cause)


@pytest.mark.parametrize(
    ("before", "now", "updates"),
    [
        (None, {}, [JobsListed("location", (), 0.0)]),
        (None, {"a": JOB}, [JobsListed("location", (JOB,), 0.0)]),
        ({}, {"a": JOB}, [JobChanged(JOB)]),
        ({"a": JOB}, {"a": JOB}, []),
        ({"a": JOB}, {"a": OVER}, [JobChanged(OVER)]),
        ({"a": JOB}, {}, [JobVanished("a")]),
    ],
)
def test_diff_jobs(
    before: dict[str, Job] | None, now: dict[str, Job], updates: list[object]
) -> None:
    assert list(diff_jobs(before, now, "location", 0.0)) == updates


@given(lines=st.lists(st.text("abé", max_size=5)), cuts=st.lists(st.integers(0, 40)))
def test_tail_returns_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "output"
    text = "".join(f"{line}\n" for line in lines).encode()
    tail, found, start = Tail(path), list[str](), 0
    for cut in sorted(cuts):
        with path.open("ab") as file:
            file.write(text[start:cut])
        start = max(start, cut)
        found += [*tail.read()]
    with path.open("ab") as file:
        file.write(text[start:])
    assert [*found, *tail.read(final=True)] == lines


def test_final_read_returns_an_unterminated_line(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("one\ntwo")
    tail = Tail(path)
    assert [[*tail.read()], [*tail.read()], [*tail.read(final=True)]] == [["one"], [], ["two"]]


def test_tail_at_end_skips_existing_lines(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("old\n")
    tail = Tail(path, at_end=True)
    with path.open("a") as file:
        file.write("new\n")
    assert [*tail.read(final=True)] == ["new"]


def test_line_longer_than_a_chunk_is_split(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("x" * 600_000 + "\nend\n")
    tail = Tail(path)
    pieces = [piece for _ in range(4) for piece in tail.read()]
    assert ("".join(pieces[:-1]), pieces[-1]) == ("x" * 600_000, "end")


def test_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "output"
    assert last_lines(path, 2) == []
    path.write_text("a\nb\nc")
    assert last_lines(path, 2) == ["b", "c"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["x" * MAX_BYTES, "a", "b"], ["b"]),
        (["x" * MAX_BYTES] * 500, ["x" * MAX_LINE]),
        (["a", "x" * (MAX_BYTES + 1)], ["x" * MAX_LINE]),
    ],
)
def test_last_lines_stay_within_the_limit(lines: list[str], expected: list[str]) -> None:
    """Nothing is read beyond the limit: 500 lines of a megabyte must not end the worker."""
    longest = 0

    def read(count: int) -> Iterator[str]:
        nonlocal longest
        total = 0
        for line in lines[-count:]:
            total += len(line)
            longest = max(longest, total)
            yield line

    assert last_lines_within_limit(read, 3) == expected
    assert longest <= 2 * MAX_BYTES + 1
