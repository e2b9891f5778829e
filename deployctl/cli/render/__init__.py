"""Renderers: the report of a command as text, JSON, or GitHub annotations. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.diagnostics import Diagnostic
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key, Plan, Result, ResultStatus


@dataclass(frozen=True, slots=True)
class CommandReport:
    """Everything that a command shows at its end."""

    command: str
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """File name → text, for the source lines under diagnostics."""
    plan: Plan | None = None
    results: tuple[Result, ...] = ()
    target: str = ""
    """The server: `http://… (Prefect 3.8.8)`."""
    subject: str = ""
    """What the command works on: `12 deployments in prefect.yaml`."""
    interrupted: bool = False
    shown: frozenset[tuple[str, Key, ResultStatus]] = frozenset()
    """Identities of the results that were printed already."""
    data: Mapping[str, Json] = field(default_factory=dict)
    """Further keys of the JSON object, without secrets."""
    strict: bool = False
    """Whether warnings count as errors."""
    full: bool = False
    """Whether long lists are shown whole."""
