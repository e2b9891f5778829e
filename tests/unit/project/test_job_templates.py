"""Invalid base job templates are reported with their line and with help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployctl.project.job_templates import TemplateError, read_template

RIGHT = {"job_configuration": {"command": "{{ command }}"}, "variables": {"properties": {}}}


def test_reads_template_with_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps(RIGHT), encoding="utf-8-sig")
    assert read_template(file) == RIGHT


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"", ":1:1", "not valid JSON: Expecting value"),
        (b'{\n  "variables": x\n}', ":2:16", "not valid JSON: "),
        (b'{\n"a": "\xff"}', ":2", "not UTF-8"),
        (b"[]", ":1", "a base job template must be a JSON object"),
        (b"3", ":1", "must be a JSON object"),
        (b'{"variables": {}}', ":1", "a base job template needs 'job_configuration'"),
        (b'{"job_configuration": {}}', ":1", "a base job template needs 'variables'"),
        (b'{"job_configuration": {},\n"variables": []}', ":2", "'variables' must be an object"),
        (b'{\n"job_configuration": null, "variables": {}}', ":2", "must be an object"),
        (b'{\n"\\u0076ariables": [], "job_configuration": {}}', ":1", "'variables' must be"),
    ],
)
def test_invalid_template_is_reported_with_its_line(
    content: bytes, place: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.json"
    file.write_bytes(content)
    with pytest.raises(TemplateError) as error:
        read_template(file)
    assert error.value.message.startswith(f"{file}{place}: ")
    assert message in error.value.message
    assert "get-default-base-job-template" in (error.value.help or "")


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as error:
        read_template(tmp_path / "none.json")
    assert error.value.message == f"cannot read '{tmp_path}/none.json': No such file or directory"
    assert "get-default-base-job-template" in (error.value.help or "")
