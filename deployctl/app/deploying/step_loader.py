"""Parses and checks the steps of deployments, and the placeholders that refer to their outputs."""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.model import DeploymentSpec, Project
from deployctl.steps.checks import check_steps
from deployctl.steps.model import Step, effective_steps, parse_steps
from deployctl.steps.placeholders import (
    check_entry_outputs,
    check_pull_outputs,
    check_step_outputs,
    possible_outputs,
    stored_credentials,
)
from deployctl.steps.shell_syntax import check_scripts
from deployctl.templating.problems import Problem


class StepLoader:
    """Parses and checks steps; those that deployments inherit from the file only once."""

    def __init__(self, project: Project, skip_build: bool, environ: Mapping[str, str]) -> None:
        self._project = project
        self._skip_build = skip_build
        self._environ = environ
        self._inherited: dict[str, tuple[tuple[Step, ...], list[Problem]]] = {}

    def load(
        self,
        spec: DeploymentSpec,
        raw: Mapping[str, Json],
        entry: Mapping[str, Json],
        report: Report,
    ) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The build and push steps of a deployment, with their paths in the document.

        Reports what is wrong with its steps, and placeholders in `entry`, its other fields, that no
        step provides.
        """
        parsed = [self._parse(kind, spec, raw) for kind in ("build", "push", "pull")]
        build, push, pull = (steps for steps, _ in parsed)
        before = (*build, *push)
        outputs = possible_outputs(before)
        problems = [problem for _, found in parsed for problem in found]
        problems += check_pull_outputs(pull, outputs)
        if not self._skip_build:
            problems += check_step_outputs(before, self._environ)
        self._project.document.report_problems(problems, report)
        spec.report_problems(check_entry_outputs(entry, outputs, self._environ), report)
        return build, push

    def _parse(
        self, kind: str, spec: DeploymentSpec, raw: Mapping[str, Json]
    ) -> tuple[tuple[Step, ...], list[Problem]]:
        value = effective_steps(kind, raw, self._project.actions)
        if value is raw.get(kind):
            return self._checked(kind, value, (*spec.path, kind))
        if kind not in self._inherited:
            self._inherited[kind] = self._checked(kind, value, (kind,))
        return self._inherited[kind]

    def _checked(
        self, kind: str, value: Json, path: JsonPath
    ) -> tuple[tuple[Step, ...], list[Problem]]:
        steps, problems = parse_steps(value, path)
        if kind == "pull":
            # Rendered values do not name the variable that they come from.
            node = self._project.document.root.find(path)
            written, _ = parse_steps(node.value if node else None, path)
            problems += stored_credentials(written, self._environ)
        if kind == "pull" or not self._skip_build:
            problems += [*check_steps(steps), *check_scripts(steps)]
        return tuple(steps), problems
