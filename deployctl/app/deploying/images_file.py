"""What a build gave, as a file: written by one stage of a CI pipeline, read by the next.

`deployctl build --output json` writes it, `deployctl deploy --images FILE` reads it. Secrets are
masked in it; a deployment that would get one is not deployed from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.app.deploying.load import SelectedDeployment
from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json, format_path, leaves
from deployctl.images.model import Image
from deployctl.steps.engine import Outputs
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.values import lookup


class InvalidImagesFile(UsageError):
    """The file of `--images` is not what `deployctl build` has written."""

    code = "DC340"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class BuildOutputs:
    """What the steps of a command gave."""

    outputs: Mapping[str, Outputs]
    """Deployment → outputs of its steps."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """`name:tag` of what was pushed → the same with its digest."""

    def as_json(self, images: Sequence[Image]) -> dict[str, Json]:
        """The keys of the file, beside its version."""
        return {
            "images": [
                {
                    "name": image.name,
                    "tag": image.tag,
                    "digest": image.digest,
                    "image": image.pinned,
                    "built": image.built,
                }
                for image in images
            ],
            "outputs": redact.mask_secrets(dict(self.outputs)),
            "pins": dict(self.pins),
        }


def read_build_outputs(path: Path) -> BuildOutputs:
    """Reads the file. Raises BadImagesFile."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidImagesFile(f"'{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidImagesFile(f"'{path}' is not JSON: {error}", help=_HOW) from error
    try:
        return BuildOutputs(_mapping_of(data["outputs"], dict), _mapping_of(data["pins"], str))
    except (KeyError, TypeError) as error:
        if failure := _failure(data):
            message = f"'{path}' is of a build that failed: {failure}"
            raise InvalidImagesFile(
                message, help="build again, and deploy only after success"
            ) from error
        raise InvalidImagesFile(f"'{path}' does not say what was built", help=_HOW) from error


def check_build_outputs(
    chosen: Iterable[SelectedDeployment], built: BuildOutputs, report: Report
) -> None:
    """Tells which deployments cannot be deployed from the file (DC341, DC342)."""
    for each in chosen:
        if not (each.build or each.push):
            continue
        place, outputs = each.spec.span(), built.outputs.get(each.name)
        if outputs is None:
            report.error(
                "DC341",
                f"'{each.name}' has build or push steps, and nothing says what they gave",
                place,
                help="build this deployment too: deployctl build --output json > FILE",
            )
        elif any(isinstance(leaf, str) and redact.MASK in leaf for _, leaf in leaves(outputs)):
            report.error(
                "DC342",
                f"a step of '{each.name}' gave a secret, which is not kept in the file",
                place,
                help="deploy it with its steps, or let them print no secret",
            )


def check_secret_outputs(
    chosen: Iterable[SelectedDeployment], outputs: Mapping[str, Outputs], report: Report
) -> None:
    """Tells where a secret of a block that a step gave would be stored in plain text (DC342)."""
    for each in chosen:
        problems = [
            Problem(
                path,
                "DC342",
                f"{format_path(path)}: '{placeholder.name}' holds a secret, which would be stored "
                "in plain text",
                help="let the step print no secret, or name the block in 'job_variables.env'",
            )
            for path, leaf in leaves(each.entry)
            for placeholder in placeholders(leaf if isinstance(leaf, str) else "")
            if placeholder.kind is PlaceholderKind.STEP
            and redact.contains_stored_secret(_given(outputs.get(each.name, {}), placeholder.name))
        ]
        each.spec.report_problems(problems, report)


def _given(outputs: Outputs, name: str) -> Json:
    """What the steps gave by this name, if anything."""
    try:
        return lookup(outputs, name)
    except LookupError:
        return None


_HOW = "write it with: deployctl build --output json > FILE"


def _failure(data: Json) -> str:
    """The first line of the error that a build ended with, as far as this says one."""
    found = data.get("diagnostics") if isinstance(data, dict) else None
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and each.get("severity") == "error":
            return str(each.get("message", "")).partition("\n")[0]
    return ""


def _mapping_of(value: Json, kind: type) -> dict[str, Json]:
    """The value. Raises TypeError if it is no mapping of values of this kind."""
    if not isinstance(value, dict) or not all(isinstance(item, kind) for item in value.values()):
        raise TypeError
    return value
