from __future__ import annotations

from deployctl.core.diagnostics import Report, Severity, Span
from deployctl.core.json_values import JsonPath
from deployctl.templating.problems import Problem, report_problems


def test_problems_become_diagnostics_with_spans() -> None:
    def where(path: JsonPath) -> Span:
        return Span("prefect.yaml", len(path), 1, len(path), 2)

    problem = Problem(("tags", 1), "DC302", "not set", "set it")
    warning = Problem((), "DC304", "not there", severity_override=Severity.WARNING)
    report = Report()
    report_problems([problem.below(("deployments", 0)), warning], report, where)
    assert [(item.code, item.severity, str(item.span), item.help) for item in report] == [
        ("DC302", Severity.ERROR, "prefect.yaml:4:1", "set it"),
        ("DC304", Severity.WARNING, "prefect.yaml:0:1", None),
    ]
