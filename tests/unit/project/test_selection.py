"""Which deployments a command means."""

from __future__ import annotations

import pytest

from deployctl.core.errors import UsageError
from deployctl.project.model import normalize_entrypoint
from deployctl.project.selection import Candidate, Selection, SelectionResult, select

FILE = [
    Candidate("Hello Flow", "daily", "./hello.py:hello"),
    Candidate("Hello Flow", "hourly", "hello.py:hello"),
    Candidate("second_flow", "daily", "jobs.second:run"),
    Candidate("second_flow", "a-one", "jobs.second.run"),
    Candidate("third", "what?", "third.py:f"),
]


@pytest.mark.parametrize(
    ("names", "indexes"),
    [
        (["hourly"], [1]),
        (["daily"], [0, 2]),
        (["Hello Flow/daily"], [0]),
        (["second_flow/a-*"], [3]),
        (["*/daily"], [0, 2]),
        (["*"], [0, 1, 2, 3, 4]),
        (["*ly"], [0, 1, 2]),
        (["Hello*/*"], [0, 1]),
        (["what?"], [4]),
        (["a-one", "daily", "daily"], [0, 2, 3]),
    ],
)
def test_selects_by_names_and_patterns(names: list[str], indexes: list[int]) -> None:
    assert select(FILE, Selection(names=tuple(names))) == SelectionResult(tuple(indexes))


@pytest.mark.parametrize(
    ("names", "said", "help_"),
    [
        (["dayly"], "'dayly'", "Did you mean 'daily'?"),
        (["hello/daily"], "'hello/daily'", "Did you mean 'Hello Flow/daily'?"),
        (["second-flow/a-*"], "'second-flow/a-*'", "'"),
        (["wha?"], "'wha?'", "Did you mean 'what?'?"),
        (["nope", "daily", "none"], "'nope', 'none'", "The file has 'daily'"),
        ([""], "''", "The file has"),
    ],
)
def test_rejects_a_name_that_matches_nothing(names: list[str], said: str, help_: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(FILE, Selection(names=tuple(names)))
    assert said in caught.value.message
    assert help_ in (caught.value.help or "")


def test_all() -> None:
    assert select(FILE, Selection(everything=True)).indexes == (0, 1, 2, 3, 4)


def test_all_and_names_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude"):
        select(FILE, Selection(everything=True, names=("daily",)))


def test_selects_the_only_deployment_by_default() -> None:
    assert select(FILE[:1], Selection()).indexes == (0,)


def test_several_deployments_need_a_selection() -> None:
    with pytest.raises(UsageError) as caught:
        select(FILE, Selection())
    assert "--all" in (caught.value.help or "")
    assert "-n" in (caught.value.help or "")


@pytest.mark.parametrize("selection", [Selection(), Selection(everything=True)])
def test_rejects_a_file_without_deployments(selection: Selection) -> None:
    with pytest.raises(UsageError, match="declares no deployments"):
        select([], selection)


def test_a_name_does_not_rename_the_only_deployment() -> None:
    with pytest.raises(UsageError, match="'other'"):
        select(FILE[:1], Selection(names=("other",)))


@pytest.mark.parametrize(
    ("entrypoint", "names", "chosen"),
    [
        ("hello.py:hello", [], SelectionResult((0, 1))),
        ("hello.py:hello", ["hourly"], SelectionResult((1,))),
        ("./hello.py:hello", ["Hello Flow/*"], SelectionResult((0, 1))),
        ("jobs.second:run", ["daily"], SelectionResult((2,))),
        ("hello.py:hello", ["new"], SelectionResult((), "new")),
        ("other.py:f", ["new"], SelectionResult((), "new")),
    ],
)
def test_selects_by_entrypoint(entrypoint: str, names: list[str], chosen: SelectionResult) -> None:
    assert select(FILE, Selection(names=tuple(names), entrypoint=entrypoint)) == chosen


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no deployment of the file has the entrypoint"),
        (["hourly"], "declares 'hourly' with the entrypoint 'hello.py:hello'"),
        (["new", "newer"], "not every name"),
        (["new*"], "not every name"),
        (["flow/new"], "not every name"),
    ],
)
def test_rejects_an_entrypoint_that_does_not_fit(names: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        select(FILE, Selection(names=tuple(names), entrypoint="other.py:f"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("./a.py:f", "a.py:f", True),
        ("x/../a.py:f", "a.py:f", True),
        ("m.n:f", "m.n.f", True),
        ("a.py:f", "a.py:g", False),
        ("a/b.py:f", "b.py:f", False),
    ],
)
def test_compares_entrypoints_in_normal_form(one: str, other: str, same: bool) -> None:
    assert (normalize_entrypoint(one) == normalize_entrypoint(other)) is same


POOLS = [
    Candidate("etl", "daily", "a.py:etl", "k8s", ("team-a", "prod")),
    Candidate("etl", "nightly", "a.py:etl", "gpu", ("team-a",)),
    Candidate("report", "daily", "b.py:report", "k8s-eu", ("team-b",)),
    Candidate("", "broken", "c.py:gone", "k8s"),
]


@pytest.mark.parametrize(
    ("selection", "indexes"),
    [
        (Selection(tags=("team-a",)), (0, 1)),
        (Selection(tags=("team-*",)), (0, 1, 2)),
        (Selection(tags=("prod", "team-b")), (0, 2)),
        (Selection(pools=("k8s*",)), (0, 2, 3)),
        (Selection(pools=("gpu", "k8s-eu")), (1, 2)),
        (Selection(tags=("team-a",), pools=("k8s",)), (0,)),
        (Selection(names=("daily",), pools=("k8s",)), (0,)),
        (Selection(names=("etl/*",), pools=("k8s",)), (0, 3)),
        (Selection(excluded=("daily",)), (1, 3)),
        (Selection(excluded=("etl/*",)), (2, 3)),
        (Selection(everything=True, excluded=("report/daily", "broken")), (0, 1)),
        (Selection(pools=("k8s*",), excluded=("*/daily",)), (3,)),
        (Selection(entrypoint="a.py:etl", pools=("gpu",)), (1,)),
    ],
)
def test_options_of_different_kinds_narrow_the_selection(
    selection: Selection, indexes: tuple[int, ...]
) -> None:
    """What is wrong with `broken`, whose flow is not known, must not go unnoticed."""
    assert select(POOLS, selection).indexes == indexes


@pytest.mark.parametrize(
    ("selection", "said", "help_"),
    [
        (Selection(tags=("team",)), "no deployment has the tag 'team'", "Did you mean 'team-"),
        (Selection(tags=("x", "prod")), "has the tag 'x'", "There are 'prod', 'team-a', 'team-b'."),
        (Selection(pools=("k8",)), "is in the work pool 'k8'", "Did you mean 'k8s'?"),
        (Selection(excluded=("dayly",)), "--exclude: no deployment", "Did you mean 'daily'?"),
        (Selection(names=("nightly",), pools=("k8s",)), "no deployment matches all", "Leave one"),
        (Selection(excluded=("*",)), "no deployment matches all", "Leave one"),
        (Selection(everything=True, tags=("prod",)), "--all and --with-tag exclude", "Remove"),
        (Selection(names=("new",), entrypoint="a.py:etl", pools=("k8s",)), "'new'", "Leave"),
    ],
)
def test_what_selects_nothing_is_an_error(selection: Selection, said: str, help_: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(POOLS, selection)
    assert said in caught.value.message
    assert help_ in (caught.value.help or "")


def test_a_flow_that_was_not_inspected_does_not_make_an_exclusion_a_mistake() -> None:
    """Flows of entries that other options leave out are not read."""
    assert select(POOLS, Selection(tags=("prod",), excluded=("gone/broken",))).indexes == (0,)
    with pytest.raises(UsageError) as caught:
        select(POOLS, Selection(excluded=("gone/brokn",)))
    assert "/broken" not in (caught.value.help or "")


def test_further_files_may_have_what_one_lacks() -> None:
    selection = Selection(names=("daily", "other"), tags=("x",), is_shared=True)
    found = select(POOLS, selection)
    assert (found.indexes, found.missed) == ((), (("-n", "other"), ("--with-tag", "x")))
