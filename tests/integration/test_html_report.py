"""The HTML report of a plan in a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deployctl.cli.render.html import render
from tests.unit.cli.test_html import REPORT

CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_browser_shows_the_page_without_errors(tmp_path: Path) -> None:
    assert CHROMIUM
    page = tmp_path / "plan.html"
    page.write_text(render(REPORT), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    done = subprocess.run(
        [
            CHROMIUM,
            *options,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "CONSOLE" not in done.stderr
    text = html.unescape(re.sub(r"<[^>]*>", "", done.stdout))
    assert "<b>old</b> → <script>alert(1)</script>" in text
    assert done.stdout.count("<details") == 2
