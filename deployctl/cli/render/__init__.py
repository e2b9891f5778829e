"""What a command found and did, as text for a person, as JSON, or for GitHub: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deployctl.core.diagnostics import Diagnostic
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key, Plan, Result, ResultStatus


class Format(StrEnum):
    """The values of `--output`."""

    HUMAN = "human"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a command has to tell at its end."""

    command: str
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """File name → text, for the source lines under diagnostics."""
    plan: Plan | None = None
    results: tuple[Result, ...] = ()
    target: str = ""
    """The server, as people know it: `http://… (Prefect 3.8.8)`."""
    subject: str = ""
    """What was looked at: `12 deployments in prefect.yaml`."""
    interrupted: bool = False
    shown: frozenset[tuple[str, Key, ResultStatus]] = frozenset()
    """Results that were told as they came."""
    data: Mapping[str, Json] = field(default_factory=dict)
    """What the command was asked for, ready to be shown: without secrets."""
