"""Base job templates in JSON files: of `--base-job-template`, and of `work_pools:` in the file."""

from __future__ import annotations

import json
from pathlib import Path

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

_HELP = (
    "Start from a valid template: "
    "`deployctl work-pool get-default-base-job-template --type kubernetes --file template.json`"
)


class TemplateError(DeployctlError):
    """A file is not a base job template; the message has the line."""

    code = "DC681"

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}", help=_HELP)


def read_object(path: Path) -> tuple[dict[str, Json], str]:
    """The JSON object in a file, and the file's text. Raises TemplateError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text)
    except OSError as error:
        raise TemplateError(f"cannot read '{path}'", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TemplateError(f"{path}:{line}", "not UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise TemplateError(place, f"not valid JSON: {error.msg}") from error
    if not isinstance(found, dict):
        raise TemplateError(f"{path}:1", "a base job template must be a JSON object")
    return found, text


def read_template(path: Path) -> dict[str, Json]:
    """A complete template, as `prefect work-pool get-default-base-job-template` prints it.

    Raises TemplateError.
    """
    template, text = read_object(path)
    for key in ("job_configuration", "variables"):
        if key not in template:
            raise TemplateError(f"{path}:1", f"a base job template needs '{key}'")
        if not isinstance(template[key], dict):
            line = text.count("\n", 0, max(0, text.find(f'"{key}"'))) + 1
            raise TemplateError(f"{path}:{line}", f"'{key}' must be an object")
    return template
