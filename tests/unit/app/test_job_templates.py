"""What is wrong with a base job template is told with its place and the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployctl.app.job_templates import TemplateError, read_template

RIGHT = {"job_configuration": {"command": "{{ command }}"}, "variables": {"properties": {}}}


def test_a_template_is_read_also_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps(RIGHT), encoding="utf-8-sig")
    assert read_template(file) == RIGHT


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"", ":1:1", "not valid JSON: Expecting value"),
        (b'{\n  "variables": {},\n}', ":3:1", "not valid JSON: "),
        (b'{\n"a": "\xff"}', ":2", "not UTF-8"),
        (b"[]", ":1", "a base job template is a JSON object, and this is none"),
        (b"3", ":1", "and this is none"),
        (b'{"variables": {}}', ":1", "a base job template needs 'job_configuration'"),
        (b'{"job_configuration": {}}', ":1", "a base job template needs 'variables'"),
        (b'{"job_configuration": {},\n"variables": []}', ":2", "'variables' has to be an object"),
        (b'{\n"job_configuration": null, "variables": {}}', ":2", "has to be an object"),
        (b'{\n"\\u0076ariables": [], "job_configuration": {}}', ":1", "'variables' has to be"),
    ],
)
def test_a_file_that_is_no_template(
    content: bytes, place: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.json"
    file.write_bytes(content)
    with pytest.raises(TemplateError) as error:
        read_template(file)
    assert error.value.message.startswith(f"{file}{place}: ")
    assert message in error.value.message
    assert "get-default-base-job-template" in (error.value.help or "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as error:
        read_template(tmp_path / "none.json")
    assert error.value.message == f"cannot read '{tmp_path}/none.json': No such file or directory"
    assert "get-default-base-job-template" in (error.value.help or "")
