"""Steps that `validate`, `plan`, `build`, `deploy` and `dev` share, from options to a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from deployctl.api.dialect import detect
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.setting_sources import read_env_file
from deployctl.app.deploying.build_steps import BuildPlan
from deployctl.app.deploying.images_file import read_build_outputs
from deployctl.app.deploying.load import LoadedProject, LoadOptions, load_document
from deployctl.app.deploying.prepare import prepare
from deployctl.app.deploying.prepared_plan import PreparedPlan
from deployctl.cli.context import CommandContext
from deployctl.cli.exit import FAILED, Exit
from deployctl.cli.options import ConnectionOptions
from deployctl.cli.overrides import parse_overrides
from deployctl.cli.project_files import DEFAULT_FILE, read_files
from deployctl.cli.project_options import (
    BuilderOptions,
    DeployOptions,
    ImageOptions,
    OverrideOptions,
)
from deployctl.cli.selection_options import SelectionOptions
from deployctl.cli.server import connect
from deployctl.core import redact
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Severity
from deployctl.core.errors import SettingsError, UsageError
from deployctl.deploy.model import Plan
from deployctl.images.pipeline import FixedImage, ImagePipeline
from deployctl.project.declared import check_same_resources
from deployctl.project.parse import check_same_names
from deployctl.project.selection import Selection, check_missed, nothing_selected
from deployctl.templating.references import Reference, ReferenceValues, read_references


def use_env_files(files: list[Path]) -> None:
    """Sets the variables in files of `--env-file`, for templates, steps, imports and settings.

    Variables of the environment win over those of a file. Raises SettingsError.
    """
    values: dict[str, str] = {}
    for path in files:
        values |= read_env_file(path, {**values, **os.environ})
    for name, value in values.items():
        os.environ.setdefault(name, value)


def register_secrets() -> None:
    """Keeps values of the environment with secret names out of all output."""
    redact.register_secrets(
        value for name, value in os.environ.items() if redact.is_secret_name(name)
    )


def load_all(
    ctx: CommandContext,
    options: LoadOptions,
    files: list[Path],
    session: Callable[[], Session] | None = None,
) -> list[LoadedProject]:
    """Loads every file. Raises Exit if the diagnostics forbid to continue.

    `session` is called if names in a file contain variables or blocks of the server.
    """

    def read(found: Sequence[Reference]) -> ReferenceValues:
        """The values of these references."""
        assert session is not None
        return run(read_references(found), session())

    register_secrets()
    selection = replace(options.selection, is_shared=len(files) > 1)
    options = replace(options, strict=ctx.strict, selection=selection)
    loaded = [
        load_document(document, options, ctx.report, os.environ, read if session else None)
        for document in read_files(ctx, options, files)
    ]
    projects = [each for each in loaded if each is not None]
    is_narrowed = selection.changed_since or (selection.is_shared and selection.is_partial)
    if is_narrowed and not ctx.blocked:
        projects = _with_selected(projects, selection)
        _show_changes(ctx, projects, selection.changed_since)
    if any(each.fix for each in ctx.report):
        from deployctl.app.deploying.fix import without_impossible_fixes

        for path in files or [DEFAULT_FILE]:
            without_impossible_fixes(ctx.sources[str(path)], path, ctx.report)
    selected = [each for project in projects for each in project.selected]
    check_same_names(
        [(each.spec, each.facts.name) for each in selected],
        ctx.report,
        lambda one, other: one.document is other.document,
    )
    check_same_resources([(each.document, each.declared) for each in projects], ctx.report)
    names = ", ".join(str(path) for path in files or [DEFAULT_FILE])
    ctx.subject = f"{len(selected)} deployment{'s' * (len(selected) != 1)} in {names}"
    ctx.subject += f" (environment {options.environment})" if options.environment else ""
    if ctx.blocked:
        raise Exit(FAILED)
    return projects


def _with_selected(projects: list[LoadedProject], selection: Selection) -> list[LoadedProject]:
    """The projects of which something is selected: none if nothing changed.

    Raises UsageError if an option matches nothing in any file.
    """
    results = [each.selected_by for each in projects]
    candidates = [candidate for each in results for candidate in each.candidates]
    missed = results[0].missed if results else ()
    nowhere = [each for each in missed if all(each in one.missed for one in results)]
    check_missed(nowhere, candidates)
    found = [each for each in projects if each.selected_by.indexes or each.selected_by.ad_hoc]
    if not found and candidates and not selection.changed_since:
        raise nothing_selected(candidates)
    return found


def _show_changes(ctx: CommandContext, projects: list[LoadedProject], revision: str) -> None:
    """Says what `--changed-since` selects, and why."""
    if not revision:
        return
    ctx.data["selected"] = [
        {"file": each.document.file, "name": name, "reasons": list(reasons)}
        for each in projects
        for name, reasons in each.changes.items()
    ]
    lines = [f"Changed since {revision}:" if projects else f"Nothing changed since {revision}."]
    for each in projects:
        for name, reasons in each.changes.items():
            lines += [f"  {name}", *(f"      {reason}" for reason in reasons)]
    ctx.print(lines)


@contextmanager
def open_projects(
    ctx: CommandContext, options: LoadOptions, files: list[Path], server: ConnectionOptions
) -> Iterator[tuple[list[LoadedProject], Session]]:
    """Every file and a session, which is opened after all that needs none.

    Raises Exit if the diagnostics forbid to continue.
    """
    with ExitStack() as stack:

        @cache
        def session() -> Session:
            """Opens the session at the first call."""
            return stack.enter_context(connect(ctx, server))

        projects = load_all(ctx, options, files, session)
        yield projects, session()


def load_options(
    selection: SelectionOptions,
    overrides: OverrideOptions,
    deployment: DeployOptions,
    images: ImageOptions,
) -> LoadOptions:
    """What to load, from the options of `deploy` and `plan`. Raises UsageError."""
    if images.images and (images.skip_build or images.image is not None):
        raise UsageError(
            "--images excludes --skip-build and --image", help="Leave one of them out."
        )
    for name, value in (("--images", images.images), ("--image", images.image)):
        if value in ("", Path()):
            raise UsageError(f"{name} is empty", help="Give it a value, or leave it out.")
    _check_prune(selection, deployment)
    changes = parse_overrides(overrides)
    if images.image:
        changes = replace(changes, job_variables={**changes.job_variables, "image": images.image})
    return LoadOptions(
        selection.selection,
        changes,
        deployment.project,
        images.skip_build or images.images is not None,
        deployment.keep_going,
        environment=selection.env,
        assignments=tuple(selection.assignments),
    )


def _check_prune(selection: SelectionOptions, deployment: DeployOptions) -> None:
    if not deployment.prune:
        return
    if selection.is_partial:
        raise UsageError(
            "--prune needs all deployments: what is not selected is not undeclared",
            help="Use --all instead of a selection.",
        )
    if deployment.keep_going:
        raise UsageError(
            "--prune excludes --keep-going: what has errors is not undeclared",
            help="Leave one of them out.",
        )


@contextmanager
def build_plan(
    ctx: CommandContext,
    projects: list[LoadedProject],
    session: Session,
    options: ImageOptions,
    *,
    find_existing: bool = False,
    run_shell_steps: bool = False,
) -> Iterator[BuildPlan]:
    """How to treat the build and push steps. Raises BadImagesFile and BadReference.

    `find_existing`: finds out which images exist and what git says, for a plan that no build
    follows. `run_shell_steps`: runs all shell steps for it.
    """
    if options.images:
        yield BuildPlan(outputs=read_build_outputs(options.images), pin_digests=options.pin)
    elif options.skip_build:
        yield BuildPlan(skip=True)
    elif options.image:
        yield BuildPlan(
            image_provider=FixedImage(options.image),
            find_existing=find_existing,
            run_shell_steps=run_shell_steps,
            pin_digests=options.pin,
        )
    elif not any(project.has_image_steps for project in projects):
        yield BuildPlan(find_existing=find_existing, run_shell_steps=run_shell_steps)
    else:
        with image_pipeline(ctx, options, lambda: session, session.cancellation) as images:
            yield BuildPlan(
                image_provider=images,
                find_existing=find_existing,
                run_shell_steps=run_shell_steps,
                pin_digests=options.pin,
            )


def image_pipeline(
    ctx: CommandContext,
    options: BuilderOptions,
    session: Callable[[], Session],
    stop: CancellationToken,
) -> AbstractContextManager[ImagePipeline]:
    """The pipeline that builds images; calls `session` only if the server's version is needed."""
    from deployctl.app.deploying.image_builders import open_image_pipeline

    def server_version() -> str:
        """The Prefect version of the server, for a generated Dockerfile."""
        try:
            opened = session()
        except SettingsError as error:
            raise SettingsError(
                f"`dockerfile: auto` needs a version of Prefect, and {error.message}",
                help=f"Install Prefect into the project's '.venv'. Or: {error.help}",
            ) from error
        dialect = run(detect(opened.settings.is_cloud), opened)
        return ".".join(map(str, dialect.version))

    return open_image_pipeline(
        options.builder, Path.cwd(), os.environ, server_version, ctx.progress.output, stop
    )


def prepare_all(
    ctx: CommandContext,
    projects: list[LoadedProject],
    session: Session,
    options: DeployOptions,
    steps: BuildPlan,
) -> list[PreparedPlan]:
    """Plans every project. Raises Exit if the diagnostics forbid to continue."""
    ctx.progress.phase("reading the server")
    prepared: list[PreparedPlan] = []
    for project in projects:
        earlier = {name: pool for one in prepared for name, pool in one.inputs.pools.items()}
        prepared.append(
            prepare(
                project,
                session,
                ctx.report,
                os.environ,
                Path.cwd(),
                steps,
                create_pools=options.create_pools,
                before=earlier,
            )
        )
    set_plan(ctx, prepared)
    return prepared


def complete_plans(
    ctx: CommandContext,
    prepared: list[PreparedPlan],
    session: Session,
    options: DeployOptions,
    *,
    applies: bool,
) -> list[PreparedPlan]:
    """The plans with what concerns other projects and `--prune`; puts them into the context.

    `applies`: a deploy follows, which the findings of the guard of `--prune` forbid. Raises Exit if
    the diagnostics forbid to continue, and UsageError if --prune would take a folder's name for
    the project's.
    """
    from deployctl.app.deploying.ownership import check_ownership
    from deployctl.app.deploying.renaming import hint_at_renames, rename

    prepared = check_ownership(prepared, session, ctx.report, allowed=options.take_over)
    prepared = rename(prepared, session, ctx.report)
    if options.prune:
        from deployctl.app.deploying.pruning import prune

        if ignored := next((each for each in ctx.report if each.code == "DC131"), None):
            raise UsageError(
                f"--prune needs to know all that is declared, and {ignored.message}",
                help=ignored.help,
            )
        unnamed = [each.loaded for each in prepared if not each.loaded.is_named]
        if unnamed:
            raise UsageError(
                f"--prune needs a project name, and {unnamed[0].document.file} has none",
                help="Add `name:` at its top level, or use --project. The name of the folder may "
                "be another one on the next machine.",
            )
        severity = Severity.ERROR if applies else Severity.WARNING
        prepared = prune(
            prepared, session, ctx.report, severity=None if options.confirmed else severity
        )
        hint_at_renames((change for each in prepared for change in each.plan.changes), ctx.report)
    set_plan(ctx, prepared)
    return prepared


def set_plan(ctx: CommandContext, prepared: list[PreparedPlan]) -> None:
    """Puts the plan of all projects into the context. Raises Exit if it can't be applied."""
    if ctx.blocked:
        raise Exit(FAILED)
    desired = {key for each in prepared for key in each.desired_keys}
    undeclared = {
        (resource.kind, resource.key): resource
        for each in prepared
        for resource in each.plan.undeclared
        if (resource.kind, resource.key) not in desired
    }
    changes = (change for each in prepared for change in each.plan.changes)
    ctx.plan = Plan(tuple(changes), tuple(undeclared.values()))
    ctx.target += f" ({prepared[0].dialect})" if prepared and "(" not in ctx.target else ""


def apply_all(
    ctx: CommandContext,
    prepared: list[PreparedPlan],
    session: Session,
    checks: Iterable[Callable[[], None]] = (),
) -> None:
    """Applies the plans under the locks of their projects.

    Raises what `exclusive` raises, and what the checks do: they are called before the first write,
    with the final plan in the context.
    """
    from deployctl.app.deploying.deploy import deploy_all
    from deployctl.app.deploying.project_lock import exclusive

    def is_complete() -> bool:
        """Whether nothing failed or was skipped."""
        return all(each.is_written for each in ctx.results)

    with exclusive(prepared, session, ctx.report, ctx.progress, is_complete) as locked:
        set_plan(ctx, [each for each, _ in locked])
        for check in checks:
            check()
        ctx.results += deploy_all(locked, session, ctx.report, ctx.progress, ctx.show_result)
