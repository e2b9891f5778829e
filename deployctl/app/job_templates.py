"""Reads the base job template of a work pool from a file."""

from __future__ import annotations

import json
from pathlib import Path

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

_WAY_OUT = (
    "to start from one that is right: "
    "deployctl work-pool get-default-base-job-template --type kubernetes --file template.json"
)


class TemplateError(DeployctlError):
    """A file is no base job template; the message says where."""

    code = "DC681"

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}", help=_WAY_OUT)


def read_template(path: Path) -> Json:
    """The template in a JSON file, as `prefect work-pool get-default-base-job-template` prints it.

    Raises TemplateError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        template = json.loads(text)
    except OSError as error:
        raise TemplateError(f"cannot read '{path}'", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TemplateError(f"{path}:{line}", "not UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise TemplateError(place, f"not valid JSON: {error.msg}") from error
    if not isinstance(template, dict):
        raise TemplateError(f"{path}:1", "a base job template is a JSON object, and this is none")
    for key in ("job_configuration", "variables"):
        if key not in template:
            raise TemplateError(f"{path}:1", f"a base job template needs '{key}'")
        if not isinstance(template[key], dict):
            line = text.count("\n", 0, max(0, text.find(f'"{key}"'))) + 1
            raise TemplateError(f"{path}:{line}", f"'{key}' has to be an object")
    return template
