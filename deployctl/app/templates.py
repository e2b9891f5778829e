"""Reads the base job template of a work pool from a file."""

from __future__ import annotations

import json
from pathlib import Path

from deployctl.core.errors import DeployctlError
from deployctl.core.values import Json


class TemplateError(DeployctlError):
    """A file is no base job template; the message says where."""

    code = "DC681"


def read_template(path: Path) -> Json:
    """The template in a JSON file, as `prefect work-pool get-default-base-job-template` prints it.

    Raises TemplateError.
    """
    try:
        template = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TemplateError(f"cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"cannot read '{path}': not UTF-8") from error
    except json.JSONDecodeError as error:
        raise TemplateError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}"
        ) from error
    for key in ("job_configuration", "variables"):
        if not isinstance(template, dict) or not isinstance(template.get(key), dict):
            raise TemplateError(
                f"'{path}' is no base job template: '{key}' has to be an object in it",
                help="deployctl work-pool get-default-base-job-template prints one to start from.",
            )
    return template
