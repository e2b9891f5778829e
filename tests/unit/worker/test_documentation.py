"""docs/worker.md describes all options, settings, metrics, events and permissions, no others."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from deployctl.cli.commands import app
from deployctl.jobs import rbac
from deployctl.worker.control.outcomes import OutcomeCode
from deployctl.worker.error_kinds import ErrorKind
from deployctl.worker.event_log import EventName
from deployctl.worker.health.exporter import families
from deployctl.worker.health.health_state import Fault, Loop
from deployctl.worker.health.metric_names import RUN_EVENT_LABELS, RequestErrorKind, Target
from deployctl.worker.settings import KUBERNETES_NAMES, NAMES

PAGE = (Path(__file__).parents[3] / "docs" / "worker.md").read_text(encoding="utf-8")
PREFIX = "PREFECT_INTEGRATIONS_KUBERNETES_"


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> set[str]:
    """Return the names in backquotes in the first column of the tables of a text."""
    cells = re.findall(r"^\| *(`[^|]*`[^|]*) *\|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_setting_is_described() -> None:
    described = first_column(section("Settings"))
    common = {name.env[0] for name in NAMES}
    of_clusters = {name.env[0].removeprefix(PREFIX) for name in KUBERNETES_NAMES}
    assert described == common | of_clusters
    aliases = {alias for name in (*NAMES, *KUBERNETES_NAMES) for alias in name.aliases}
    assert {alias for alias in aliases if f"`{alias}`" not in PAGE} == set()


def test_every_metric_is_described() -> None:
    metrics = families({}, {}, 0.0)
    there = {each.name + ("_total" if each.type == "counter" else "") for each in metrics}
    assert first_column(section("Metrics")) == there


def test_every_value_of_a_metric_label_is_described() -> None:
    text = section("Metrics")
    values = [*RUN_EVENT_LABELS.values(), *ErrorKind, *RequestErrorKind, *Target, *Loop]
    assert {value for value in values if f"`{value}`" not in text} == set()


def test_every_fault_is_described() -> None:
    of_loops = set(Loop) - {Loop.WATCH}
    described = {name.removesuffix(" …") for name in first_column(section("Health"))}
    assert described - {"/health", "/ready", "/metrics"} == of_loops | set(Fault)


def test_every_event_is_described() -> None:
    assert first_column(section("Event log")) == set(EventName)


def test_every_cause_that_the_worker_finds_itself_is_described() -> None:
    text = section("Event log")
    assert {code for code in OutcomeCode if f"`{code}`" not in text} == set()


def test_every_option_is_described() -> None:
    command = typer.main.get_command(app).commands["worker"]  # type: ignore[attr-defined]
    options = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name not in ("--help", "--traceback")
    }
    assert {name for name in options if f"`{name}`" not in section("Options")} == set()


def test_every_permission_is_described() -> None:
    rules = (*rbac.JOBS, *rbac.SECRETS, *rbac.LEASES, *rbac.EVENTS, *rbac.IDENTITY)
    rows = re.findall(
        r"^\| (.*?) ?\| `(.+?)` \| (.+?) \|", section("Permissions in the cluster"), re.M
    )
    described = {(group.strip("`"), resource, verbs) for group, resource, verbs in rows}
    assert described == {(each.group, each.resource, ", ".join(each.verbs)) for each in rules}
