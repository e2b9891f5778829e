"""The alert rules and the dashboard in the chart name metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from deployctl.app.operating.server_metrics import INFO_LABELS, ServerMetric
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metric_names import RUN_EVENT_LABELS, Label, RequestErrorKind
from deployctl.worker.health.metrics import Metrics

FILES = Path(__file__).parents[4] / "charts" / "deployctl-worker" / "files"
RULES = FILES / "alerts.yaml"
TARGET_LABELS = {"instance", "le"}
"""Labels that Prometheus or a histogram adds."""


def alerts() -> list[dict[str, str]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    yield from dashboard_queries("dashboard.json")
    yield from dashboard_queries("server-dashboard.json")


def dashboard_queries(file: str) -> Iterator[str]:
    dashboard = json.loads((FILES / file).read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def exported() -> set[str]:
    """The names of all samples and of those that appear with the first event."""
    exporter = Exporter(lambda: 0.0)
    exporter.pools = {"pool": Metrics(HealthMonitor())}
    found = set()
    for family in text_string_to_metric_families(exporter.text().decode()):
        found |= {sample.name for sample in family.samples}
        found.add(family.name + ("_total" if family.type == "counter" else ""))
    return found | set(ServerMetric)


def test_every_metric_of_a_rule_or_panel_exists() -> None:
    named = {
        name
        for each in queries()
        for name in re.findall(r"\b(?:deployctl|prefect|process)_\w+", each)
    }
    assert len(named) > 15
    assert named - exported() == set()


def test_every_label_of_a_rule_or_panel_exists() -> None:
    labels = set()
    for each in queries():
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", each):
            labels |= set(re.split(r",\s*", group))
        labels |= set(re.findall(r"(\w+)(?:=|!=|=~)\"", each))
    server_labels = {"state"}.union(*INFO_LABELS.values())
    assert labels - set(Label) - TARGET_LABELS - server_labels == set()
    texts = json.dumps([rule["annotations"] for rule in alerts()])
    assert set(re.findall(r"\$labels\.(\w+)", texts)) - set(Label) == set()


def test_every_value_of_a_label_exists() -> None:
    events, kinds = set(), set()
    for each in queries():
        for values in re.findall(r'event=~?"([^"]*)"', each):
            events |= set(values.split("|"))
        for values in re.findall(r'kind=~?"([^"]*)"', each):
            kinds |= set(values.split("|"))
    assert events - set(RUN_EVENT_LABELS.values()) == set()
    assert kinds - set(RequestErrorKind) == set()


def test_every_alert_says_how_severe_it_is_and_what_is_wrong() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
