"""What a claimed flow run asks for, as one description that every runtime understands.

A worker reads the references that `references_of` names, secrets included, and `describe` does the
rest without asking anybody: the same subject and library give the same description on every worker,
which is why a job that was created twice is one.

A job's name begins with words that people gave. The run's name is the one that it was claimed
under; other words (or the namespace) may change within an attempt: whoever creates a job again
looks for it by its labels first.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from deployctl.core.json_values import Json, digest, leaves
from deployctl.core.redact import is_secret_name, strip_userinfo
from deployctl.jobs import environment
from deployctl.jobs.manifest import main_container
from deployctl.jobs.model import (
    EXECUTE_COMMAND,
    InvalidJobSpec,
    JobSource,
    JobSpec,
    Limits,
    major_version,
)
from deployctl.jobs.names import name_slug
from deployctl.jobs.rendering import job_variables_of, render_variables, resolve_references
from deployctl.templating.references import Library, Reference, references

DEFAULT_START_TIMEOUT = 60.0
"""Seconds: the default of `pod_watch_timeout_seconds` in Prefect's templates."""


def required_references(subject: JobSource, environ: Mapping[str, str]) -> list[Reference]:
    """The blocks and variables of the server that the run's job configuration names.

    `environ`: the worker's. Raises Undescribable as `describe` does.
    """
    return [reference for _, reference in references(render_variables(subject, environ))]


def build_job_spec(
    subject: JobSource,
    library: Library,
    *,
    environ: Mapping[str, str],
    inherited: Mapping[str, str],
) -> JobSpec:
    """The job of a claimed run.

    `library`: all of `references_of`, with secrets. `environ`: the worker's own, for `{{ $HOME }}`
    in templates. `inherited`: the settings that jobs get (`environment.inherited`). Raises
    Undescribable with a reason for the run's owner.
    """
    populated = render_variables(subject, environ)
    configuration = resolve_references(populated, subject, library)
    container = main_container(configuration.get("job_manifest"))
    given = environment.parse_environment(configuration.get("env"), "env")
    written = environment.parse_environment(
        container.get("env"), "env of the job manifest's container"
    )
    env = {
        **inherited,
        **environment.flow_run_variables(subject),
        **given,
        **{name: value for name, value in written.items() if name not in given},
    }
    command = _command(container.get("args"), configuration.get("command"))
    texts = environment.literal_values(env)
    return JobSpec(
        run=subject.flow_run["id"],
        attempt=subject.attempt,
        pool=subject.work_pool["id"],
        name=_name(subject, configuration),
        worker=subject.worker_name,
        configuration=configuration,
        command=command,
        env=texts,
        env_from={name: item for name, item in env.items() if environment.is_reference(item)},
        secret_env=_secret_names(texts, inherited, populated, library),
        labels={**_labels(subject), **_texts(configuration.get("labels"), "labels")},
        annotations=_texts(configuration.get("annotations"), "annotations"),
        limits=_limits(subject, configuration, command),
        server_version=subject.server_version,
    )


def _command(args: Json, command: Json) -> tuple[str, ...]:
    """What the job runs: the arguments that the manifest has, else `command`, else the flow run."""
    wanted = command if args is None else args
    if isinstance(wanted, list):
        return tuple(map(str, wanted)) or EXECUTE_COMMAND
    if not isinstance(wanted, str | None):
        raise InvalidJobSpec("'command' is neither text nor a list of texts")
    try:
        return tuple(shlex.split(wanted or "")) or EXECUTE_COMMAND
    except ValueError as error:
        raise InvalidJobSpec(
            "'command' cannot be split into words: a quotation mark is missing"
        ) from error


def _name(subject: JobSource, configuration: Mapping[str, Json]) -> str:
    """The job's name: at most 56 letters, digits and dashes, and another one for each attempt."""
    manifest = configuration.get("job_manifest") or {}
    metadata = manifest.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    wishes = (
        metadata.get("name"),
        metadata.get("generateName"),
        configuration.get("name"),
        subject.flow_run.get("name"),
    )
    slugs = (name_slug(wish) for wish in wishes if isinstance(wish, str))
    prefix = next((slug for slug in slugs if slug), "prefect-job")
    return f"{prefix}-{digest([subject.flow_run['id'], subject.attempt])[:10]}"


def _secret_names(
    env: Mapping[str, str],
    inherited: Mapping[str, str],
    populated: Mapping[str, Json],
    library: Library,
) -> frozenset[str]:
    """The variables that hold a secret of the worker's, or one that came out of a block.

    Found by their values, wherever the template put those; a secret of fewer than four letters is
    not looked for within longer texts.
    """
    whole = {
        text
        for name, text in inherited.items()
        if is_secret_name(name) or name == environment.HEADERS or strip_userinfo(text) != text
    }
    for _, reference in references(populated):
        if library.is_secret(reference):
            whole |= {str(leaf) for _, leaf in leaves(library(reference)) if leaf}
    parts = [text for text in whole if len(text) >= 4]
    return frozenset(
        name for name, text in env.items() if text in whole or any(part in text for part in parts)
    )


def _labels(subject: JobSource) -> dict[str, str]:
    """The labels that Prefect 3 gives a job, as they are before any runtime's rules."""
    flow, deployment = subject.flow or {}, subject.deployment or {}
    found = {
        "prefect.io/flow-run-id": subject.flow_run["id"],
        "prefect.io/flow-run-name": subject.flow_run.get("name"),
        "prefect.io/version": subject.server_version.partition("+")[0],
        "prefect.io/work-pool-name": subject.work_pool.get("name"),
        "prefect.io/work-pool-id": subject.work_pool["id"],
        "prefect.io/worker-name": subject.worker_name,
        "prefect.io/flow-id": flow.get("id"),
        "prefect.io/flow-name": flow.get("name"),
        "prefect.io/deployment-id": deployment.get("id"),
        "prefect.io/deployment-name": deployment.get("name"),
        "prefect.io/deployment-updated": _moment(deployment.get("updated"), subject),
    }
    return {name: text for name, text in found.items() if text}


def _moment(text: str | None, subject: JobSource) -> str:
    """A time as the worker of the server's major writes it."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(UTC).isoformat()
    return moment if major_version(subject.server_version) >= 3 else moment.replace("+00:00", "Z")


def _texts(value: Json, where: str) -> dict[str, str]:
    if not isinstance(value, dict | None):
        raise InvalidJobSpec(f"'{where}' is no mapping")
    return {str(key): str(item) for key, item in (value or {}).items() if item is not None}


def _limits(
    subject: JobSource, configuration: Mapping[str, Json], command: tuple[str, ...]
) -> Limits:
    start = _seconds(configuration, "pod_watch_timeout_seconds")
    chosen = any(
        "pod_watch_timeout_seconds" in job_variables_of(owner)
        for owner in (subject.deployment, subject.flow_run)
    )
    return Limits(
        start_timeout=DEFAULT_START_TIMEOUT if start is None else start,
        start_timeout_explicit=start is not None and (chosen or start != DEFAULT_START_TIMEOUT),
        run_timeout=_seconds(configuration, "job_watch_timeout_seconds"),
        ignores_cancellation="flow-run execute" not in " ".join(command),
        stream_output=str(configuration.get("stream_output", True)).lower() != "false",
    )


def _seconds(configuration: Mapping[str, Json], name: str) -> float | None:
    """A number of seconds; None where there is none, and for 0, which waits for nothing."""
    value = configuration.get(name)
    try:
        seconds = float(0 if value is None else value)
    except (TypeError, ValueError) as error:
        raise InvalidJobSpec(f"'{name}' is no number of seconds") from error
    return seconds if seconds > 0 else None
