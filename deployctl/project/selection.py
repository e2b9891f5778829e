"""Selects the deployments of the file that a command names.

Selection differs from `prefect deploy` in three ways: patterns and `flow/deployment` use the flow's
real name, a name that matches nothing is an error, and `-n` never renames a declared deployment.
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
    """An entry of the file, with the name of its flow in the code; "" for what is not known."""

    flow: str
    name: str
    entrypoint: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The selection options of the command line."""

    everything: bool = False
    """`--all`"""
    names: tuple[str, ...] = ()
    """`-n`: a name, `flow/name`, or either with `*` in it."""
    entrypoint: str = ""
    """`FILE:FLOW`; restricts the other options to this entrypoint."""


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """The indexes of the selected candidates, or the name of a deployment to create."""

    indexes: tuple[int, ...]
    ad_hoc: str = ""
    """Set when `FILE:FLOW -n NAME` names a deployment that the file does not have."""


def select(candidates: Sequence[Candidate], selection: Selection) -> SelectionResult:
    """The selected candidates in the order of the file, each once.

    Raises UsageError if the options match nothing or are ambiguous.
    """
    if selection.everything and selection.names:
        raise UsageError("--all and -n exclude each other", help="Remove one of them.")
    if selection.entrypoint:
        return _by_entrypoint(candidates, selection)
    if selection.names:
        return SelectionResult(_by_names(candidates, selection.names))
    if not candidates:
        raise UsageError(
            "the file declares no deployments",
            help="Add one under 'deployments:', or name FILE:FLOW and -n NAME.",
        )
    if len(candidates) > 1 and not selection.everything:
        raise UsageError(
            f"the file declares {len(candidates)} deployments and the command names none",
            help=f"Use --all, or name some with -n: {_shown(candidates)}.",
        )
    return SelectionResult(tuple(range(len(candidates))))


def _by_entrypoint(candidates: Sequence[Candidate], selection: Selection) -> SelectionResult:
    entrypoint = normalize_entrypoint(selection.entrypoint)
    with_entrypoint = [
        index
        for index, candidate in enumerate(candidates)
        if normalize_entrypoint(candidate.entrypoint) == entrypoint
    ]
    if not selection.names:
        if not with_entrypoint:
            is_name = match_candidates(candidates, selection.entrypoint)
            raise UsageError(
                f"no deployment of the file has the entrypoint '{selection.entrypoint}'",
                help=f"To select a deployment by its name, use `-n {selection.entrypoint}`."
                if is_name
                else "Name the new deployment with -n.",
            )
        return SelectionResult(tuple(with_entrypoint))
    named = [set(match_candidates(candidates, name)) for name in selection.names]
    selected = [index for index in with_entrypoint if any(index in indexes for indexes in named)]
    if selected and all(indexes & set(with_entrypoint) for indexes in named):
        return SelectionResult(tuple(selected))
    name = selection.names[0]
    if len(selection.names) > 1 or "*" in name or "/" in name:
        raise UsageError(
            f"not every name belongs to a deployment of '{selection.entrypoint}'",
            help="Remove FILE:FLOW, or name one new deployment.",
        )
    if named[0]:
        other = candidates[min(named[0])]
        raise UsageError(
            f"the file declares '{name}' with the entrypoint '{other.entrypoint}'",
            help="Change it in the file, remove FILE:FLOW, or choose another name.",
        )
    return SelectionResult((), name)


def _by_names(candidates: Sequence[Candidate], names: Sequence[str]) -> tuple[int, ...]:
    selected: set[int] = set()
    unmatched = []
    for name in names:
        found = match_candidates(candidates, name)
        selected.update(found)
        if not found:
            unmatched.append(name)
    if unmatched:
        listed = ", ".join(f"'{name}'" for name in unmatched)
        known = [*(each.name for each in candidates if each.name), *map(_full, candidates)]
        guess = did_you_mean(unmatched[0], known)
        has = f"The file has {_shown(candidates)}." if candidates else "The file declares none."
        raise UsageError(f"no deployment is called {listed}", help=guess or has)
    return tuple(sorted(selected))


def match_candidates(candidates: Sequence[Candidate], name: str) -> list[int]:
    """The indexes of the candidates that a name or pattern matches; only `*` is special.

    `flow/*` also matches candidates whose flow is not known: what is wrong with them must not go
    unnoticed.
    """
    pattern = _pattern(name)
    if "/" not in name:
        return [n for n, each in enumerate(candidates) if pattern.fullmatch(each.name)]
    found = [n for n, each in enumerate(candidates) if pattern.fullmatch(_full(each))]
    if found and "*" not in name:
        return found
    pattern = _pattern(name.rpartition("/")[2])
    unknown = [n for n, c in enumerate(candidates) if not c.flow and pattern.fullmatch(c.name)]
    return sorted({*found, *unknown})


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)


def _full(candidate: Candidate) -> str:
    return f"{candidate.flow}/{candidate.name}"


def _shown(candidates: Sequence[Candidate]) -> str:
    names = [f"'{candidate.name}'" for candidate in candidates[:5] if candidate.name]
    return ", ".join(names) + (", …" if len(candidates) > 5 else "")
