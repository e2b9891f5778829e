from __future__ import annotations

from deployctl.core.diagnostics import Report, Severity, Span, Spans


def span(line: int) -> Span:
    return Span("prefect.yaml", line, 1, line, 5)


def test_a_report_counts_by_severity() -> None:
    report = Report()
    report.add("DC101", "no such key", span(1))
    report.add("DC102", "odd", severity=Severity.WARNING)
    report.add("DC103", "by the way", severity=Severity.NOTE)
    assert (report.errors, report.warnings) == (1, 1)
    assert [item.severity for item in report] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]


def test_repeated_diagnostics_are_shown_once() -> None:
    report = Report()
    for line in (1, 2, 1):
        report.add("DC101", "no such key", span(line))
    assert report.errors == 3
    assert [item.span for item in report.distinct()] == [span(1), span(2)]


def test_the_catalogue_gives_the_severity() -> None:
    report = Report()
    report.add("DC101", "unreadable")
    report.add("DC120", "unknown key")
    report.add("DC120", "unknown key", severity=Severity.ERROR)
    assert [item.severity for item in report] == [
        Severity.ERROR,
        Severity.WARNING,
        Severity.ERROR,
    ]


def test_a_path_without_a_span_has_that_of_its_parent() -> None:
    spans = Spans(
        values={(): span(1), ("deployments", 0): span(3)},
        keys={("deployments", 0, "name"): span(4)},
    )
    assert spans.value(("deployments", 0, "tags", 2)) == span(3)
    assert spans.value(("nowhere",)) == span(1)
    assert spans.key(("deployments", 0, "name")) == span(4)
    assert spans.key(("deployments", 0, "tags")) == span(3)
