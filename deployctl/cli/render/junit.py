"""Findings and results as JUnit XML, which most CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from deployctl.cli.render import CommandReport
from deployctl.cli.render.findings import default_file, findings, text
from deployctl.cli.render.names import SEVERITIES
from deployctl.core.diagnostics import Diagnostic, Severity
from deployctl.core.redact import redact
from deployctl.deploy.model import Result, ResultStatus

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't contain."""


def render(report: CommandReport) -> str:
    """One test case per finding and per result; without any, one that passes."""
    cases = list(_cases(report))
    if not cases:
        cases.append(Element("testcase", classname=default_file(report), name=report.command))
    failures, skipped = (sum(case.find(tag) is not None for case in cases) for tag in _OUTCOMES)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    root = Element("testsuites", {"name": "deployctl", **counts})
    named = {"name": f"deployctl {report.command}", **counts, "skipped": str(skipped)}
    suite = SubElement(root, "testsuite", named)
    suite.extend(cases)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}'


_OUTCOMES = ("failure", "skipped")


def _cases(report: CommandReport) -> Iterator[Element]:
    in_results = sum(result.status is ResultStatus.FAILED for result in report.results)
    found = list(findings(report))
    for item in found[: len(found) - in_results]:
        yield _finding(item, report)
    for result in report.results:
        yield _result(result)


def _finding(item: Diagnostic, report: CommandReport) -> Element:
    """A failure for what fails the command; else a test that passes, with the text as output."""
    file = item.span.file if item.span else default_file(report)
    case = Element("testcase", classname=_clean(file), name=_clean(f"{item.code}: {item.message}"))
    if item.span:
        case.set("file", _clean(file))
        case.set("line", str(item.span.line))
    place = f"{item.span}: " if item.span else ""
    body = _clean(f"{place}{SEVERITIES[item.severity]}[{item.code}]: {text(item)}")
    fails = item.severity is Severity.ERROR or (report.strict and item.severity is Severity.WARNING)
    if fails:
        failure = SubElement(case, "failure", type=item.code, message=_clean(item.message))
        failure.text = body
    else:
        SubElement(case, "system-out").text = body
    return case


def _result(result: Result) -> Element:
    kind, name = result.change.kind, result.change.name
    case = Element("testcase", classname=kind, name=_clean(name))
    if result.status is ResultStatus.SKIPPED:
        SubElement(case, "skipped", message=_clean(redact(result.reason)))
    elif result.status is ResultStatus.FAILED and result.error:
        message = _clean(redact(result.error.message))
        failure = SubElement(case, "failure", type=result.error.code, message=message)
        failure.text = "\n".join(filter(None, [message, _clean(redact(result.error.help or ""))]))
    return case


def _clean(value: str) -> str:
    return _NOT_XML.sub("?", value)
