"""Selects the deployments of the file that a command names.

Options of different kinds narrow the selection, and one of several values of the same kind is
enough: `-n a -n b --in-pool k8s` are those of `a` and `b` that are in `k8s`. `--exclude` comes
last.

Selection differs from `prefect deploy` in three ways: patterns and `flow/deployment` use the flow's
real name, a name that matches nothing is an error, and `-n` never renames a declared deployment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project.coerce import is_unresolved
from deployctl.project.model import DeploymentSpec, normalize_entrypoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the file, with the name of its flow in the code; "" for what is not known."""

    flow: str
    name: str
    entrypoint: str
    pool: str = ""
    """The work pool that the file names."""
    tags: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What `-n` and `--exclude` call it, as far as that is known."""
        return (self.name, _full(self)) if self.flow else (self.name,)


@dataclass(frozen=True, slots=True)
class Selection:
    """The selection options of the command line."""

    everything: bool = False
    """`--all`"""
    names: tuple[str, ...] = ()
    """`-n`: a name, `flow/name`, or either with `*` in it."""
    entrypoint: str = ""
    """`FILE:FLOW`; restricts the other options to this entrypoint."""
    tags: tuple[str, ...] = ()
    """`--with-tag`: tags of the file, or patterns with `*`."""
    pools: tuple[str, ...] = ()
    """`--in-pool`: work pools, or patterns with `*`."""
    excluded: tuple[str, ...] = ()
    """`--exclude`: as `names`."""
    changed_since: str = ""
    """`--changed-since`: a revision of git; `app.deploying.changed_since` says what changed."""
    is_shared: bool = False
    """Whether the command has further files, which may have what this one lacks."""

    @property
    def is_partial(self) -> bool:
        """Whether it may leave deployments out."""
        filters = (self.tags, self.pools, self.excluded, self.changed_since)
        return bool(self.names or self.entrypoint or any(filters))


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """The indexes of the selected candidates, or the name of a deployment to create."""

    indexes: tuple[int, ...]
    ad_hoc: str = ""
    """Set when `FILE:FLOW -n NAME` names a deployment that the file does not have."""
    missed: tuple[tuple[str, str], ...] = ()
    """Option and value of what matches nothing in this file."""
    candidates: tuple[Candidate, ...] = field(default=(), compare=False)


_PROBLEMS: Mapping[str, tuple[str, Callable[[Candidate], Iterable[str]]]] = {
    "-n": ("no deployment is called", lambda each: each.names),
    "--exclude": ("--exclude: no deployment is called", lambda each: each.names),
    "--with-tag": ("no deployment has the tag", lambda each: each.tags),
    "FILE:FLOW": ("no deployment of the files has the entrypoint", lambda each: (each.entrypoint,)),
    "--in-pool": ("no deployment is in the work pool", lambda each: (each.pool,)),
}
"""Option → what it says if it matches nothing, and the names of a candidate that it knows."""


def candidate_of(spec: DeploymentSpec, flow: str = "") -> Candidate:
    """An entry as selection sees it. What steps or the server name is left out."""
    pool = spec.raw.get("work_pool")
    name = pool.get("name") if isinstance(pool, dict) else pool
    tags = spec.raw.get("tags")
    return Candidate(
        flow,
        spec.name,
        spec.entrypoint,
        "" if name is None or is_unresolved(name) else str(name),
        tuple(str(tag) for tag in tags if not is_unresolved(tag)) if isinstance(tags, list) else (),
    )


def select(candidates: Sequence[Candidate], selection: Selection) -> SelectionResult:
    """The selected candidates in the order of the file, each once.

    Raises UsageError if the options match nothing or are ambiguous; if other files may have what is
    missing, it is in the result.
    """
    for option, values in {"-n": selection.names, **_filters(selection)}.items():
        if selection.everything and values:
            raise UsageError(f"--all and {option} exclude each other", help="Remove one of them.")
    result = _by_entrypoint_or_names(candidates, selection)
    if result.ad_hoc:
        if replace(selection, names=(), entrypoint="").is_partial:
            raise UsageError(
                f"the file declares no '{result.ad_hoc}', so no other option can select it",
                help="Leave --with-tag, --in-pool, --exclude and --changed-since out.",
            )
        return result
    missed = list(result.missed)
    selected = set(result.indexes)
    for option, patterns in _filters(selection).items():
        if patterns:
            names = _PROBLEMS[option][1]
            matched = {each: _having(candidates, each, names) for each in patterns}
            selected &= set().union(*matched.values())
            missed += [(option, each) for each, found in matched.items() if not found]
    for pattern in selection.excluded:
        selected -= set(match_candidates(candidates, pattern, unknown=False))
        # Flows of entries that other options leave out are not inspected, so not known.
        missed += [] if match_candidates(candidates, pattern) else [("--exclude", pattern)]
    if not selection.is_shared:
        check_missed(missed, candidates)
        if not selected and candidates:
            raise nothing_selected(candidates)
    indexes = tuple(sorted(selected))
    return SelectionResult(indexes, missed=tuple(missed), candidates=tuple(candidates))


def check_missed(missed: Iterable[tuple[str, str]], candidates: Sequence[Candidate]) -> None:
    """Raises UsageError for the values of the first option that match none of the candidates."""
    found = list(missed)
    if not found:
        return
    option = found[0][0]
    message, names = _PROBLEMS[option]
    values = [value for each, value in found if each == option]
    known = [name for each in candidates for name in names(each) if name]
    has = "The file has" if option in ("-n", "--exclude") else "There are"
    shown = _shown(candidates) if option in ("-n", "--exclude") else quoted(sorted({*known})[:5])
    listed = f"{has} {shown}." if shown else "The file declares none."
    guess = did_you_mean(values[0], known)
    raise UsageError(f"{message} {quoted(values)}", help=guess or listed)


def nothing_selected(candidates: Sequence[Candidate]) -> UsageError:
    """The error for options that each match something, and together nothing."""
    return UsageError(
        "no deployment matches all options of the selection",
        help=f"Leave one of them out. The file has {_shown(candidates)}.",
    )


def _filters(selection: Selection) -> dict[str, tuple[str, ...]]:
    return {"--with-tag": selection.tags, "--in-pool": selection.pools}


def _having(
    candidates: Sequence[Candidate], pattern: str, names: Callable[[Candidate], Iterable[str]]
) -> list[int]:
    """The indexes of the candidates of whose names one matches the pattern."""
    known = _pattern(pattern)
    return [
        index
        for index, each in enumerate(candidates)
        if any(name and known.fullmatch(name) for name in names(each))
    ]


def _by_entrypoint_or_names(
    candidates: Sequence[Candidate], selection: Selection
) -> SelectionResult:
    """Those that `FILE:FLOW` and `-n` select; without these, all."""
    if selection.entrypoint:
        return _by_entrypoint(candidates, selection)
    if selection.names:
        found = {name: match_candidates(candidates, name) for name in selection.names}
        missed = tuple(("-n", name) for name, indexes in found.items() if not indexes)
        indexes = {index for each in found.values() for index in each}
        return SelectionResult(tuple(sorted(indexes)), missed=missed)
    if not candidates and not (selection.is_shared and selection.is_partial):
        raise UsageError(
            "the file declares no deployments",
            help="Add one under 'deployments:', or name FILE:FLOW and -n NAME.",
        )
    if len(candidates) > 1 and not (selection.everything or selection.is_partial):
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
        if not with_entrypoint and selection.is_shared:
            return SelectionResult((), missed=(("FILE:FLOW", selection.entrypoint),))
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


def report_undecided(
    specs: Iterable[DeploymentSpec],
    selected: Sequence[DeploymentSpec],
    selection: Selection,
    report: Report,
) -> None:
    """Reports entries that are left out because their pool or tags are not known yet (DC151)."""
    for spec in specs:
        for option, key in (("--with-tag", "tags"), ("--in-pool", "work_pool")):
            value = spec.raw.get(key)
            values = [value.get("name")] if isinstance(value, dict) else value
            unknown = any(map(is_unresolved, values if isinstance(values, list) else [values]))
            if _filters(selection)[option] and spec not in selected and unknown:
                report.add(
                    "DC151",
                    f"{option} leaves '{spec.name}' out: its '{key}' is known only later",
                    spec.span((key,)),
                    help="Select it with -n, or write the value into the file.",
                )


def may_be_selected(candidate: Candidate, selection: Selection) -> bool:
    """Whether the options can select the candidate, as far as that is known without its flow."""
    names = [name.rpartition("/")[2] for name in selection.names]
    return (not names or any(_pattern(name).fullmatch(candidate.name) for name in names)) and all(
        not patterns or any(_having([candidate], each, _PROBLEMS[option][1]) for each in patterns)
        for option, patterns in _filters(selection).items()
    )


def match_candidates(
    candidates: Sequence[Candidate], name: str, *, unknown: bool = True
) -> list[int]:
    """The indexes of the candidates that a name or pattern matches; only `*` is special.

    `flow/*` also matches candidates whose flow is not known, unless they shall not count as
    `unknown`: what is wrong with them must not go unnoticed.
    """
    pattern = _pattern(name)
    if "/" not in name:
        return [n for n, each in enumerate(candidates) if pattern.fullmatch(each.name)]
    found = [n for n, each in enumerate(candidates) if pattern.fullmatch(_full(each))]
    if (found and "*" not in name) or not unknown:
        return found
    pattern = _pattern(name.rpartition("/")[2])
    others = [n for n, c in enumerate(candidates) if not c.flow and pattern.fullmatch(c.name)]
    return sorted({*found, *others})


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)


def _full(candidate: Candidate) -> str:
    return f"{candidate.flow}/{candidate.name}"


def _shown(candidates: Sequence[Candidate]) -> str:
    names = [f"'{candidate.name}'" for candidate in candidates[:5] if candidate.name]
    return ", ".join(names) + (", …" if len(candidates) > 5 else "")
