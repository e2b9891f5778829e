"""The outputs of build steps as a file, which one stage of a CI pipeline passes to the next.

`deployctl build --output json` writes it, `deployctl deploy --images FILE` reads it. Secrets are
masked in it, so a deployment that would get one isn't deployed from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.app.deploying.load import SelectedDeployment
from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json, format_path, leaves
from deployctl.images.model import Image
from deployctl.steps.placeholders import Outputs
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.values import lookup


class InvalidImagesFile(UsageError):
    """The file of `--images` was not written by a successful `deployctl build`."""

    code = "DC340"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class BuildOutputs:
    """The outputs of all build and push steps of a command."""

    outputs: Mapping[str, Outputs]
    """Deployment → outputs of its steps."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """`name:tag` of a pushed image → `name:tag@digest`."""

    def as_json(self, images: Sequence[Image]) -> dict[str, Json]:
        """The keys of the file, besides its version."""
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
    """Reads the file. Raises InvalidImagesFile."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidImagesFile(f"cannot read '{path}': {error.strerror}") from error
    except ValueError as error:
        raise InvalidImagesFile(f"'{path}' is not JSON: {error}", help=_HELP) from error
    try:
        return BuildOutputs(_mapping_of(data["outputs"], dict), _mapping_of(data["pins"], str))
    except (KeyError, TypeError) as error:
        if failure := _failure(data):
            message = f"'{path}' was written by a build that failed: {failure}"
            help_ = "Build again, and deploy only if the build succeeds."
            raise InvalidImagesFile(message, help=help_) from error
        raise InvalidImagesFile(f"'{path}' holds no build outputs", help=_HELP) from error


def check_build_outputs(each: SelectedDeployment, built: BuildOutputs, report: Report) -> None:
    """Reports a deployment whose outputs are not in the file (DC341) or masked (DC342)."""
    if not (each.build or each.push):
        return
    span, outputs = each.spec.span(), built.outputs.get(each.name)
    if outputs is None:
        report.add(
            "DC341",
            f"'{each.name}' has build or push steps, and the file has no outputs of them",
            span,
            help="Build this deployment, too: `deployctl build --output json > FILE`",
        )
    elif any(isinstance(leaf, str) and redact.MASK in leaf for _, leaf in leaves(outputs)):
        report.add(
            "DC342",
            f"an output of a step of '{each.name}' is a secret, which the file does not hold",
            span,
            help="Deploy it with its steps, or change them so that they print no secret.",
        )


def check_secret_outputs(
    each: SelectedDeployment, outputs: Mapping[str, Outputs], report: Report
) -> None:
    """Reports placeholders that would store a secret of a block in plain text (DC342)."""
    problems = [
        Problem(
            path,
            "DC342",
            f"{format_path(path)}: '{placeholder.name}' is a secret, which would be stored in "
            "plain text",
            help="Change the step so that it prints no secret, or reference the block in "
            "'job_variables.env'.",
        )
        for path, leaf in leaves(each.entry)
        for placeholder in placeholders(leaf if isinstance(leaf, str) else "")
        if placeholder.kind is PlaceholderKind.STEP
        and redact.contains_stored_secret(_output(outputs.get(each.name, {}), placeholder.name))
    ]
    each.spec.report_problems(problems, report)


def _output(outputs: Outputs, name: str) -> Json:
    """An output of a step, or None if there is none of this name."""
    try:
        return lookup(outputs, name)
    except LookupError:
        return None


_HELP = "Write it with `deployctl build --output json > FILE`."


def _failure(data: Json) -> str:
    """The first line of the error with which the build ended; "" if it names none."""
    found = data.get("diagnostics") if isinstance(data, dict) else None
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and each.get("severity") == "error":
            return str(each.get("message", "")).partition("\n")[0]
    return ""


def _mapping_of(value: Json, type_: type) -> dict[str, Json]:
    """The value. Raises TypeError unless it is a mapping whose values have this type."""
    if not isinstance(value, dict) or not all(isinstance(item, type_) for item in value.values()):
        raise TypeError
    return value
