"""Which deployments a command means.

Like `prefect deploy`, without its surprises: patterns and `flow/deployment` look at the flow's real
name, a name that matches nothing is an error, and `-n` never renames what the file declares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deployctl.core.errors import UsageError
from deployctl.core.suggest import did_you_mean
from deployctl.project.model import normalize_entrypoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment of the file, with the name that its flow has in the code."""

    flow: str
    name: str
    entrypoint: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line says."""

    everything: bool = False
    """`--all`"""
    names: tuple[str, ...] = ()
    """`-n`: a name, `flow/name`, or either with `*` in it."""
    entrypoint: str = ""
    """`FILE:FLOW`; it narrows what the rest selects."""


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """The indexes of the chosen candidates, and the name of a deployment to make beside them."""

    indexes: tuple[int, ...]
    ad_hoc: str = ""
    """Set when `FILE:FLOW -n NAME` names a deployment that the file does not have."""


def select(candidates: Sequence[Candidate], selection: Selection) -> SelectionResult:
    """The candidates that are meant, in the file's order, each once.

    Raises UsageError where the command names nothing, or does not say which of several.
    """
    if selection.everything and selection.names:
        raise UsageError("--all and -n exclude each other", help="leave one of them out")
    if selection.entrypoint:
        return _by_entrypoint(candidates, selection)
    if selection.names:
        return SelectionResult(_by_names(candidates, selection.names))
    if not candidates:
        raise UsageError(
            "the file declares no deployments",
            help="add one under 'deployments:', or name FILE:FLOW and -n NAME",
        )
    if len(candidates) > 1 and not selection.everything:
        raise UsageError(
            f"the file declares {len(candidates)} deployments and the command names none",
            help="say --all, or name some with -n: " + _shown(candidates),
        )
    return SelectionResult(tuple(range(len(candidates))))


def _by_entrypoint(candidates: Sequence[Candidate], selection: Selection) -> SelectionResult:
    wanted = normalize_entrypoint(selection.entrypoint)
    there = [
        index
        for index, candidate in enumerate(candidates)
        if normalize_entrypoint(candidate.entrypoint) == wanted
    ]
    if not selection.names:
        if not there:
            raise UsageError(
                f"no deployment of the file has the entrypoint '{selection.entrypoint}'",
                help="give the new deployment a name with -n",
            )
        return SelectionResult(tuple(there))
    named = [set(match_candidates(candidates, name)) for name in selection.names]
    chosen = [index for index in there if any(index in indexes for indexes in named)]
    if chosen and all(indexes & set(there) for indexes in named):
        return SelectionResult(tuple(chosen))
    name = selection.names[0]
    if len(selection.names) > 1 or "*" in name or "/" in name:
        raise UsageError(
            f"not every name belongs to a deployment of '{selection.entrypoint}'",
            help="leave FILE:FLOW out, or name one new deployment",
        )
    if named[0]:
        other = candidates[min(named[0])]
        raise UsageError(
            f"the file declares '{name}' with the entrypoint '{other.entrypoint}'",
            help="change it in the file, leave FILE:FLOW out, or choose another name",
        )
    return SelectionResult((), name)


def _by_names(candidates: Sequence[Candidate], names: Sequence[str]) -> tuple[int, ...]:
    chosen: set[int] = set()
    unmatched = []
    for name in names:
        found = match_candidates(candidates, name)
        chosen.update(found)
        if not found:
            unmatched.append(name)
    if unmatched:
        listed = ", ".join(f"'{name}'" for name in unmatched)
        known = [*(item.name for item in candidates), *map(_full, candidates)]
        guess = did_you_mean(unmatched[0], known)
        has = f"the file has {_shown(candidates)}" if candidates else "the file declares none"
        raise UsageError(f"no deployment is called {listed}", help=guess or has)
    return tuple(sorted(chosen))


def match_candidates(candidates: Sequence[Candidate], name: str) -> list[int]:
    """The candidates that a name or pattern means; only `*` is special."""
    pattern = re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)
    return [
        index
        for index, candidate in enumerate(candidates)
        if pattern.fullmatch(_full(candidate) if "/" in name else candidate.name)
    ]


def _full(candidate: Candidate) -> str:
    return f"{candidate.flow}/{candidate.name}"


def _shown(candidates: Sequence[Candidate]) -> str:
    names = [f"'{candidate.name}'" for candidate in candidates[:5]]
    return ", ".join(names) + (", …" if len(candidates) > 5 else "")
