from __future__ import annotations

from deployctl.core.diagnostics import Report, Severity, Span, Spans


def span(line: int) -> Span:
    return Span("prefect.yaml", line, 1, line, 5)


def test_a_report_counts_by_severity() -> None:
    report = Report()
    report.error("DC101", "no such key", span(1))
    report.warning("DC102", "odd")
    report.note("DC103", "by the way")
    assert (report.errors, report.warnings) == (1, 1)
    assert [item.severity for item in report] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]


def test_the_same_finding_is_told_once() -> None:
    report = Report()
    for _ in range(3):
        report.error("DC101", "no such key", span(1))
    assert report.errors == 1


def test_a_place_without_a_span_of_its_own_has_that_of_the_value_around_it() -> None:
    spans = Spans(
        values={(): span(1), ("deployments", 0): span(3)},
        keys={("deployments", 0, "name"): span(4)},
    )
    assert spans.value(("deployments", 0, "tags", 2)) == span(3)
    assert spans.value(("nowhere",)) == span(1)
    assert spans.key(("deployments", 0, "name")) == span(4)
    assert spans.key(("deployments", 0, "tags")) == span(3)
