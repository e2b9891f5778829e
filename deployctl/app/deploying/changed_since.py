"""Which deployments of a file changed since a revision of git, and why: for `--changed-since`.

A deployment changed if its entry did, the code of its flow or a module of the project that it
imports, or a file that its steps read: a Dockerfile, its build context, requirements.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from deployctl.clients.git_changes import Changes, read_changes
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json, JsonPath, leaves
from deployctl.core.suggest import shortened
from deployctl.flows.entrypoint import SearchPath, locate, parse_entrypoint
from deployctl.flows.imports import imported_files
from deployctl.images.dockerignore import DockerIgnore
from deployctl.project.assignments import apply_assignments, parse_assignment
from deployctl.project.coerce import is_unresolved
from deployctl.project.document import Document, parse_document
from deployctl.project.environments import with_environment, without_environment
from deployctl.project.model import DeploymentSpec, Project
from deployctl.steps.catalog import is_docker_build
from deployctl.steps.docker import build_context
from deployctl.steps.model import Step, effective_steps, parse_steps

_STEPS = ("build", "push", "pull")
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_PUNCTUATION = "'\"`;&|()<>"
"""What may stand around a path in a shell script."""
_SHOWN = 3
"""Names that a reason lists."""


def changed_since(
    project: Project,
    revision: str,
    environ: Mapping[str, str],
    directory: Path,
    assignments: Iterable[str] = (),
) -> dict[JsonPath, tuple[str, ...]]:
    """Path of each entry that changed → why. `directory` is the one that deployctl runs in.

    `assignments` are those of `--set`, which change no entry since the revision.
    Raises ProgramError if git can't tell.
    """
    folder = project.folder.resolve()
    changes = read_changes(folder, revision)
    former = _former(project, folder, changes, environ)
    if former is not None:
        for each in assignments:
            with suppress(UsageError):  # what it is part of is new: its entry differs without it
                former, _ = apply_assignments(former, [parse_assignment(each, Report())])
    inputs = _Inputs(changes, folder, directory.resolve())
    found = {}
    for spec in project.deployments:
        reasons = (
            *_entry_reasons(project, spec, former, revision),
            *inputs.of_code(spec.entrypoint),
            *inputs.of_steps(project, spec),
        )
        if reasons:
            found[spec.path] = tuple(dict.fromkeys(reasons))
    return found


def _former(
    project: Project, folder: Path, changes: Changes, environ: Mapping[str, str]
) -> Document | None:
    """The file as it was, with the same environment; None if there was none, or it had errors."""
    path = folder / project.file.name
    text = changes.read(path)
    document = parse_document(text, project.document.file, Report()) if text is not None else None
    if document is None:
        return None
    environment = project.document.environment
    if environment is None:
        return without_environment(document, Report())
    name = path.with_name(f"{path.stem}.{environment.name}{path.suffix}")
    beside = changes.read(name)
    side = parse_document(beside, str(name), Report()) if beside is not None else None
    return with_environment(document, environment.name, side, environ, Report())


def _entry_reasons(
    project: Project, spec: DeploymentSpec, former: Document | None, revision: str
) -> Iterator[str]:
    data = project.document.data
    entry = data["deployments"][spec.path[1]]
    if former is None or not isinstance(former.data, dict):
        yield f"'{project.document.file}' was not there, or not readable, at {revision}"
        return
    old = _former_entry(entry, former.data)
    if old is None:
        yield "its entry is new"
        return
    if changed := [key for key in {**old, **entry} if old.get(key) != entry.get(key)]:
        yield f"its entry changed: {shortened(changed, _SHOWN)}"
    for kind in _STEPS:
        before, now = (effective_steps(kind, *each) for each in ((old, former.data), (entry, data)))
        if before != now and old.get(kind) == entry.get(kind):
            yield f"the file's '{kind}' changed"


def _former_entry(entry: Any, former: Mapping[str, Json]) -> dict[str, Json] | None:
    """The entry of the same name; of several, that with the same entrypoint."""
    listed = former.get("deployments")
    if not isinstance(entry, dict) or not isinstance(listed, list):
        return None
    entries = [each for each in listed if isinstance(each, dict)]
    same = [each for each in entries if each.get("name") == entry.get("name")]
    exact = [each for each in same if each.get("entrypoint") == entry.get("entrypoint")]
    return next(iter(exact or (same if len(same) == 1 else ())), None)


class _Inputs:
    """The files that deployments are made from, as far as they changed."""

    def __init__(self, changes: Changes, folder: Path, directory: Path) -> None:
        self._changes = changes
        self._search_path = SearchPath.of(directory, folder)
        self._folders = tuple(dict.fromkeys((directory, folder)))

    def of_code(self, entrypoint: str) -> Iterator[str]:
        """Why the code of a flow, or of the function of a step, counts as changed."""
        try:
            located = locate(parse_entrypoint(entrypoint), self._search_path.bases)
        except ValueError:
            return
        if located is None or located.file is None:
            return
        own = located.file.resolve()
        folders = [each.resolve() for each in self._search_path.module_folders]
        for each in imported_files(own, folders, self._is_there):
            name = self._name(each.path)
            subject = name if each.path == own else f"imports {name}, which"
            if self._changes.has(each.path):
                yield f"{subject} changed"
            elif not each.is_parsed:
                yield f"{subject} cannot be parsed, so what it imports is not known"

    def of_steps(self, project: Project, spec: DeploymentSpec) -> Iterator[str]:
        """Why the files that steps read count as changed."""
        for kind in _STEPS:
            for step in parse_steps(effective_steps(kind, spec.raw, project.actions))[0]:
                for file in self._named_files(step):
                    if self._changes.has(file):
                        yield f"{self._name(file)} changed, which the step '{step.name}' reads"
                for reason in self.of_code(step.function):
                    yield f"the step '{step.name}': {reason}"
                if is_docker_build(step):
                    yield from self._of_context(step)

    def _named_files(self, step: Step) -> Iterator[Path]:
        """The files that the texts in the inputs of a step may name."""
        words = [word for _, value in leaves(step.inputs) for word in _words(value)]
        if step.short == "pip_install_requirements":
            file = step.inputs.get("requirements_file") or "requirements.txt"
            words.append(f"{step.inputs.get('directory') or '.'}/{file}")
        directory = step.inputs.get("directory")
        bases = ("", *(_words(directory) if directory else ()))
        for word in words:
            for folder, base in product(self._folders, bases):
                yield (folder / base / word).resolve()

    def _of_context(self, step: Step) -> Iterator[str]:
        """Why the image of a build step is another one."""
        if is_unresolved(step.inputs.get("path") or step.inputs.get("context_path") or ""):
            return
        context = build_context(step.inputs, self._folders[0]).resolve()
        dockerfile = str(step.inputs.get("dockerfile") or "Dockerfile")
        ignore = DockerIgnore.read(context, dockerfile)
        names = (dockerfile, f"{dockerfile}.dockerignore", ".dockerignore")
        always = {(context / name).resolve() for name in names}
        found = sorted(
            self._name(file)
            for file in self._changes.files
            if file in always
            or (file.is_relative_to(context) and not _ignores(ignore, file, context))
        )
        if found:
            yield f"its image is built from what changed: {shortened(found, _SHOWN)}"

    def _is_there(self, file: Path) -> bool:
        return file.is_file() or self._changes.has(file)

    def _name(self, file: Path) -> str:
        root = self._changes.root
        return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def _words(value: Json) -> Iterator[str]:
    """A text, and the words of it, if they can be paths.

    Words are those of the shell, line by line, and what stands between blanks: to the shell's
    rules, all that follows an apostrophe in a comment is one word.
    """
    if not isinstance(value, str) or "\0" in value:
        return
    text = _PLACEHOLDER.sub("{{}}", value)
    words = [text, *(word.strip(_PUNCTUATION) for word in text.split())]
    for line in text.splitlines():
        with suppress(ValueError):
            words += shlex.split(line)
    yield from (word for word in dict.fromkeys(words) if "{{" not in word)


def _ignores(ignore: DockerIgnore, file: Path, context: Path) -> bool:
    """Whether a file is left out of the build context."""
    matches, excluded = ignore.root_matches, False
    path = file.relative_to(context)
    for part in (*reversed(path.parents[:-1]), path):
        excluded, matches = ignore.match(part.as_posix(), matches)
    return excluded
