"""The HTML page of a plan."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from deployctl.cli.render import CommandReport
from deployctl.cli.render.html import render
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.errors import Rejected
from deployctl.deploy.model import Change, FieldChange, Op, Plan, Resource, Result, ResultStatus

UPDATE = Change(
    "deployment",
    ("etl", "daily"),
    Op.UPDATE,
    fields=(
        FieldChange("description", "<b>old</b>", "<script>alert(1)</script>"),
        FieldChange("parameters", {"api_key": "s3cr3t-old"}, {"api_key": "s3cr3t-new"}),
    ),
    notes=("its future runs are rescheduled",),
)
DESIRED = Resource("work_pool", ("k8s",), {"type": "kubernetes"})
CREATE = Change(
    "work_pool", ("k8s",), Op.CREATE, DESIRED, fields=(FieldChange("type", None, "kubernetes"),)
)
DELETE = Change("deployment", ("etl", "old"), Op.DELETE)
UNCHANGED = Change("deployment", ("etl", "same"), Op.NONE)
REPORT = CommandReport(
    "deploy",
    (Diagnostic("DC120", Severity.WARNING, "unknown key '<x>'", Span("p.yaml", 1, 1, 1, 4)),),
    {"p.yaml": "<x>: 1"},
    Plan((CREATE, UPDATE, DELETE, UNCHANGED), (Resource("deployment", ("etl", "gone"), {}),)),
    (Result(UPDATE, ResultStatus.FAILED, Rejected("no & never")),),
    "http://127.0.0.1:4200/api (Prefect 3.9.1)",
    "3 deployments in p.yaml",
)


class Page(HTMLParser):
    """The texts of a page, and its elements; fails unless each is closed in its place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_shows_every_resource_that_changes() -> None:
    page = Page(render(REPORT))
    assert "Plan: 1 to create, 1 to update, 1 to delete, 1 unchanged" in page.text
    for shown in (
        "deployctl deploy: 3 deployments in p.yaml",
        "on http://127.0.0.1:4200/api (Prefect 3.9.1)",
        "warning[DC120]: unknown key '<x>'",
        "+ work pool k8s",
        "type: kubernetes",
        "~ deployment etl/daily",
        "<b>old</b> → <script>alert(1)</script>",
        "note: its future runs are rescheduled",
        "- deployment etl/old",
        "deployment etl/gone stays on the server",
        "deployment etl/daily failed: no & never",
    ):
        assert shown in page.text
    assert "etl/same" not in page.text
    opened = [attributes for tag, attributes in page.elements if tag == "details"]
    assert opened == [{}, {"open": None}]


def test_page_needs_no_script_and_no_other_file() -> None:
    page = Page(render(REPORT))
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "img", "iframe"})
    assert {name for _, attributes in page.elements for name in attributes}.isdisjoint(
        {"src", "href", "onload", "onclick"}
    )


def test_page_masks_secrets() -> None:
    assert "s3cr3t" not in render(REPORT)


def test_classes_of_the_page_have_a_style() -> None:
    text = render(REPORT)
    used = {each for found in re.findall(r'class="([^"]*)"', text) for each in found.split()}
    assert used <= set(re.findall(r"\.([a-z]+)", text))


@pytest.mark.parametrize(
    "report", [CommandReport("validate"), CommandReport("plan", plan=Plan(()))]
)
def test_page_of_a_command_without_findings(report: CommandReport) -> None:
    assert f"deployctl {report.command}" in Page(render(report)).text
