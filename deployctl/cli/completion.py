"""Values that the shell completes: deployments, work pools, codes of diagnostics.

`deployctl --install-completion` sets it up. Everything is imported when the shell asks, and a
completion never fails and never takes longer than `_TIMEOUT`: a server that doesn't answer in time
completes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from deployctl.api.calls import ApiCall
    from deployctl.core.json_values import Json

T = TypeVar("T")

_TIMEOUT = 1.5
"""Seconds to wait for the server."""


def declared_deployments(incomplete: str) -> list[str]:
    """Names of the deployments in prefect.yaml."""
    return _matching(incomplete, _safely(_names_in_file, "deployments"))


def environments(incomplete: str) -> list[str]:
    """Names of the environments in prefect.yaml."""
    return _matching(incomplete, _safely(_environments_in_file, "*"))


def existing_deployments(incomplete: str) -> list[str]:
    """FLOW/NAME of the deployments on the server; else the names in prefect.yaml."""
    found = _safely(_from_server, _deployment_names)
    return _matching(incomplete, found or _safely(_names_in_file, "deployments"))


def work_pools(incomplete: str) -> list[str]:
    """Names of the work pools on the server, and of those in prefect.yaml."""
    from deployctl.api.work_pools import read_pool_names

    declared = _safely(_names_in_file, "work_pools")
    return _matching(incomplete, {*declared, *_safely(_from_server, read_pool_names)})


def codes(incomplete: str) -> list[tuple[str, str]]:
    """Codes of diagnostics with their titles; without `DC` if that is how it was begun."""
    from deployctl.core.catalogue import CATALOGUE

    start = len("DC") if incomplete.isdigit() else 0
    named = ((code[start:], entry.title) for code, entry in CATALOGUE.items())
    return [(code, title) for code, title in named if code.startswith(incomplete.upper())]


def _matching(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _safely(read: Callable[[T], Iterable[str]], argument: T) -> list[str]:
    try:
        return list(read(argument))
    except Exception:
        return []


def _read_file() -> Json:
    from pathlib import Path

    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(Path("prefect.yaml").read_text(encoding="utf-8"), loader)


def _environments_in_file(pattern: str) -> Iterator[str]:
    """The names that are no pattern."""
    return (name for name in _read_file().get("environments") or () if pattern not in name)


def _names_in_file(key: str) -> Iterator[str]:
    listed = _read_file().get(key) or ()
    if isinstance(listed, dict) and key == "work_pools":
        listed = [{"name": name} for name in listed]
    for entry in listed:
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and "{{" not in name:
            yield name


def _from_server(read: Callable[[], ApiCall[list[str]]]) -> list[str]:
    import os
    from pathlib import Path

    from deployctl.api.driver import run_in_background
    from deployctl.api.session import Session
    from deployctl.api.settings import load_settings

    session = Session(load_settings(os.environ, Path.cwd()))
    return run_in_background(read(), session).result(_TIMEOUT)


def _deployment_names() -> ApiCall[list[str]]:
    from deployctl.api import paths
    from deployctl.api.paging import pages
    from deployctl.app.operating.lookup import with_full_names

    found: list[Json] = yield from pages(paths.DEPLOYMENTS, {"sort": "NAME_ASC"}, 1)
    return [each["full_name"] for each in (yield from with_full_names(found))]
